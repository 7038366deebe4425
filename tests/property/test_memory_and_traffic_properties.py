"""For any GPT: predicted saved bytes are what autograd keeps; traffic scales as it must."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from mfubench_model.config import GPTConfig
from mfubench_model.gpt import GPT
from mfubench_model.memory import training_memory
from mfubench_model.optimizer import make_adamw
from mfubench_model.presets import get_preset
from mfubench_model.traffic import COMPONENTS, component_bytes
from torch.autograd.graph import saved_tensors_hooks

from tests.property.gpt_strategies import batch_sizes, gpt_configs


def _bytes_autograd_keeps(gpt: GPT, batch: int, *, autocast: bool = False) -> int:
    """Bytes of all distinct storages saved for backward, but the parameters'; ids are in."""
    shape = (batch, gpt.config.block_size)
    ids, targets = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    parameters = {p.untyped_storage().data_ptr() for p in gpt.parameters()}
    kept: dict[int, torch.Tensor] = {}  # holding the tensors keeps their addresses distinct

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with (
        saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast),
    ):
        gpt(ids, targets)
    return sum(
        tensor.untyped_storage().nbytes()
        for address, tensor in kept.items()
        if address not in parameters
    )


@settings(max_examples=200, deadline=None)
@given(gpt_configs(), batch_sizes)
def test_saved_activations_are_predicted_to_the_byte(config: GPTConfig, batch: int) -> None:
    predicted = training_memory(config, batch)
    assert predicted.exact
    assert predicted.activations_bytes == _bytes_autograd_keeps(GPT(config), batch)


@settings(max_examples=50, deadline=None)
@given(gpt_configs(), batch_sizes)
def test_the_autocast_estimate_is_what_a_cpu_keeps_in_bfloat16(
    config: GPTConfig, batch: int
) -> None:
    predicted = training_memory(config, batch, dtype="bfloat16")
    kept = _bytes_autograd_keeps(GPT(config), batch, autocast=True)
    assert not predicted.exact
    assert predicted.activations_bytes + predicted.cast_weights_bytes == kept


@settings(max_examples=50, deadline=None)
@given(gpt_configs())
def test_gradients_and_optimizer_state_are_predicted_to_the_byte(config: GPTConfig) -> None:
    gpt = GPT(config)
    optimizer = make_adamw(
        gpt, learning_rate=1e-3, weight_decay=0.1, betas=(0.9, 0.99), device_type="cpu"
    )
    ids = torch.zeros(1, config.block_size, dtype=torch.long)
    gpt(ids, ids)[1].backward()
    optimizer.step()

    predicted = training_memory(config, 1)
    state = [tensor for entry in optimizer.state.values() for tensor in entry.values()]
    assert predicted.parameters_bytes == sum(p.nbytes for p in gpt.parameters())
    assert predicted.gradients_bytes == sum(p.grad.nbytes for p in gpt.parameters())
    assert predicted.optimizer_bytes == sum(tensor.nbytes for tensor in state)


def test_the_cpu_presets_saved_activations_are_predicted_to_the_byte() -> None:
    preset = get_preset("nanogpt-cpu")
    predicted = training_memory(preset.config, preset.batch_size).activations_bytes
    assert predicted == _bytes_autograd_keeps(GPT(preset.config), preset.batch_size)


def test_dropouts_masks_and_scores_are_in_the_estimate() -> None:
    config = GPTConfig(
        block_size=9, vocab_size=20, n_layer=2, n_head=3, n_embd=12, dropout=0.2, bias=False
    )
    predicted = training_memory(config, 2)
    assert not predicted.exact
    assert predicted.activations_bytes == pytest.approx(
        _bytes_autograd_keeps(GPT(config), 2), rel=0.01
    )
    assert training_memory(config, 2, device_type="cuda").total_bytes < predicted.total_bytes


@settings(max_examples=200, deadline=None)
@given(gpt_configs(), batch_sizes)
def test_traffic_grows_with_bytes_and_with_the_batch_and_never_faster(
    config: GPTConfig, batch: int
) -> None:
    single, double = (component_bytes(config, b) for b in (batch, 2 * batch))
    half = component_bytes(config, batch, activation_bytes=2, weight_bytes=2)
    assert tuple(single) == COMPONENTS
    for name in COMPONENTS:
        assert 0 < single[name].forward <= single[name].backward
        # Weights are read once whatever the batch.
        assert single[name].total < double[name].total <= 2 * single[name].total
        # Ids and statistics keep their size.
        assert single[name].total <= 2 * half[name].total < 4 * single[name].total
