"""The GPT computes what nanoGPT's does, under nanoGPT's names."""

from __future__ import annotations

import math

import pytest
import torch
from mfubench_model.config import ContextTooLongError, GPTConfig
from mfubench_model.gpt import GPT

from tests.unit.model.reference_gpt import logits_and_loss, random_state

SMALL = GPTConfig(block_size=10, vocab_size=23, n_layer=2, n_head=3, n_embd=12, bias=False)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (3, 7), (2, 10)])
def test_a_nanogpt_state_dict_loads_strictly_and_computes_what_the_definition_says(
    bias: bool, batch: int, length: int
) -> None:
    state = random_state(layers=2, width=12, context=10, vocab=23, bias=bias)
    gpt = GPT(GPTConfig(block_size=10, vocab_size=23, n_layer=2, n_head=3, n_embd=12, bias=bias))
    gpt.load_state_dict(state, strict=True)
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(23, (batch, length), generator=generator)
    targets = torch.randint(23, (batch, length), generator=generator)
    if batch * length > 1:
        targets[0, 0] = -1

    logits, loss = gpt(ids, targets)
    expected_logits, expected_loss = logits_and_loss(state, ids, targets, layers=2, heads=3)

    torch.testing.assert_close(logits, expected_logits)
    torch.testing.assert_close(loss, expected_loss)


def test_the_head_is_tied_and_named_twice_in_the_state_dict() -> None:
    gpt = GPT(SMALL)
    state = gpt.state_dict()
    assert gpt.lm_head.weight is gpt.transformer.wte.weight
    assert {"lm_head.weight", "transformer.wte.weight"} <= set(state)
    assert set(state) == set(random_state(layers=2, width=12, context=10, vocab=23, bias=False))


def test_without_targets_only_the_last_positions_logits_are_computed() -> None:
    gpt = GPT(SMALL)
    ids = torch.randint(23, (2, 7))
    last, loss = gpt(ids)
    assert last.shape == (2, 1, 23)
    assert loss is None
    torch.testing.assert_close(last, gpt(ids, ids)[0][:, -1:])


def test_a_token_sees_nothing_of_what_comes_after() -> None:
    gpt = GPT(SMALL)
    ids = torch.randint(22, (1, 10))
    changed = ids.clone()
    changed[0, 6:] += 1
    before, after = gpt(ids, ids)[0], gpt(changed, ids)[0]
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])


def test_a_sequence_longer_than_the_positions_is_refused() -> None:
    with pytest.raises(ContextTooLongError, match=r"11 tokens per sequence.*10 positions"):
        GPT(SMALL)(torch.zeros(1, 11, dtype=torch.long))


def test_weights_are_drawn_as_nanogpt_draws_them() -> None:
    torch.manual_seed(0)
    gpt = GPT(GPTConfig(block_size=64, vocab_size=500, n_layer=8, n_head=2, n_embd=64))
    for name, parameter in gpt.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif ".ln_" in name:
            assert (parameter == 1).all(), name
        else:
            scale = 0.02 / math.sqrt(16) if name.endswith("c_proj.weight") else 0.02
            assert parameter.std().item() == pytest.approx(scale, rel=0.1), name


def test_dropout_changes_training_and_not_evaluation() -> None:
    config = GPTConfig(block_size=8, vocab_size=23, n_layer=1, n_head=2, n_embd=8, dropout=0.5)
    gpt = GPT(config)
    ids = torch.randint(23, (2, 8))
    assert not torch.equal(gpt(ids, ids)[0], gpt(ids, ids)[0])
    gpt.eval()
    assert torch.equal(gpt(ids, ids)[0], gpt(ids, ids)[0])


def test_the_model_compiles_into_one_graph() -> None:
    torch._dynamo.reset()
    gpt = GPT(SMALL)
    ids = torch.randint(23, (2, 7))
    compiled = torch.compile(gpt, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(ids, ids)[1], gpt(ids, ids)[1])
