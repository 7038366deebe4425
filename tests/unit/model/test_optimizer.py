"""AdamW decays what nanoGPT's does, and each parameter is stepped once."""

from __future__ import annotations

import pytest
import torch
from mfubench_model.config import GPTConfig
from mfubench_model.gpt import GPT
from mfubench_model.optimizer import adamw_groups, make_adamw

SMALL = GPTConfig(block_size=10, vocab_size=23, n_layer=2, n_head=3, n_embd=12, bias=True)


def test_matrices_decay_vectors_do_not_and_the_tied_table_comes_once() -> None:
    gpt = GPT(SMALL)
    decayed, plain = adamw_groups(gpt, 0.1)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert len(decayed["params"]) == 2 + 4 * 2  # wte (tied), wpe and four matrices per layer
    assert all(p.dim() == 1 for p in plain["params"])
    both = decayed["params"] + plain["params"]
    assert len({id(p) for p in both}) == len(both) == len(list(gpt.parameters()))


@pytest.mark.parametrize("device_type", ["cpu", "cuda", "mps"])
def test_the_fused_kernel_is_asked_for_on_cuda_alone(
    device_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    original = torch.optim.AdamW

    def record(*args: object, fused: bool | None = None, **kwargs: object) -> torch.optim.AdamW:
        asked.append(fused)
        return original(*args, **kwargs)

    monkeypatch.setattr(torch.optim, "AdamW", record)
    optimizer = make_adamw(
        GPT(SMALL), learning_rate=1e-3, weight_decay=0.1, betas=(0.9, 0.95), device_type=device_type
    )
    assert asked == [True if device_type == "cuda" else None]
    assert optimizer.defaults["betas"] == (0.9, 0.95)
    assert optimizer.defaults["lr"] == 1e-3


def test_a_few_steps_lower_the_loss() -> None:
    torch.manual_seed(0)
    gpt = GPT(SMALL)
    optimizer = make_adamw(
        gpt, learning_rate=1e-2, weight_decay=0.1, betas=(0.9, 0.99), device_type="cpu"
    )
    ids = torch.randint(23, (4, 10))
    losses = []
    for _ in range(10):
        _, loss = gpt(ids, ids.roll(-1, 1))
        losses.append(loss.item())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]
