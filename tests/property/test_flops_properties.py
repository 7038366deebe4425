"""For GPTs of any shape: our closed forms equal what torch dispatches, to the last FLOP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mfubench_model.dispatch_count import count_dispatched_flops
from mfubench_model.flops import (
    CONVENTIONS,
    component_flops,
    hardware_flops_per_step,
    model_flops_per_step,
    nanogpt_mfu,
    nanogpt_parameters,
    parameter_count,
)
from mfubench_model.gpt import GPT
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.property.gpt_strategies import batch_sizes, gpt_configs

if TYPE_CHECKING:
    from collections.abc import Callable

    from mfubench_model.config import GPTConfig


def _gpt_and_ids(
    config: GPTConfig, batch: int, length: int, device: str
) -> tuple[GPT, torch.Tensor]:
    with torch.device(device):
        return GPT(config), torch.zeros(batch, length, dtype=torch.long)


def _torch_count(fn: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        fn()
    return counter.get_total_flops()


# cpu first: torch counts real tensors three times slower once it has counted meta ones.
@pytest.mark.parametrize("device", ["cpu", "meta"])
@settings(max_examples=120, deadline=None)
@given(config=gpt_configs(), batch=batch_sizes, data=st.data())
def test_full_attention_flops_equal_torchs_own_counter_in_each_phase(
    device: str, config: GPTConfig, batch: int, data: st.DataObject
) -> None:
    context = data.draw(st.integers(1, config.block_size), label="context")
    gpt, ids = _gpt_and_ids(config, batch, context, device)
    losses: list[torch.Tensor] = []
    with sdpa_kernel(SDPBackend.MATH):
        forward = _torch_count(lambda: losses.append(gpt(ids, ids)[1]))
        backward = _torch_count(losses[0].backward)

    parts = component_flops(config, batch, causal=False, context=context).values()
    assert (sum(p.forward for p in parts), sum(p.backward for p in parts)) == (forward, backward)


@settings(max_examples=150, deadline=None)
@given(gpt_configs(), batch_sizes)
def test_the_fused_cpu_operator_counts_as_the_model_needs_and_as_the_kernel_works(
    config: GPTConfig, batch: int
) -> None:
    gpt, ids = _gpt_and_ids(config, batch, config.block_size, "cpu")

    def step() -> None:
        gpt(ids, ids)[1].backward()

    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):  # the fused operator, or an error
        assert count_dispatched_flops(step) == model_flops_per_step(config, batch, causal=False)
        assert count_dispatched_flops(step, recompute=True) == hardware_flops_per_step(
            config, batch
        )


@settings(max_examples=500, deadline=None)
@given(gpt_configs(), st.integers(1, 4096), st.floats(1e-6, 1e4))
def test_nanogpt_mfu_equals_nanogpts_formula_written_out_again(
    config: GPTConfig, sequences: int, seconds: float
) -> None:
    per_block = 4 * config.n_embd * config.n_embd + 8 * config.n_embd * config.n_embd
    tensors = 2 if config.bias else 1
    per_block += 2 * tensors * config.n_embd + (9 * config.n_embd if config.bias else 0)
    n = config.vocab_size * config.n_embd + config.n_layer * per_block + tensors * config.n_embd
    q = config.n_embd // config.n_head
    per_token = 6 * n + 12 * config.n_layer * config.n_head * q * config.block_size
    achieved = per_token * config.block_size * sequences * (1.0 / seconds)

    assert nanogpt_mfu(config, sequences, seconds) == pytest.approx(achieved / 312e12, rel=1e-9)


@settings(max_examples=500, deadline=None)
@given(gpt_configs())
def test_every_parameter_is_counted_once(config: GPTConfig) -> None:
    gpt, _ = _gpt_and_ids(config, 1, 1, "cpu")
    sizes = {name: parameter.numel() for name, parameter in gpt.named_parameters()}
    count = parameter_count(config)

    assert count.total == sum(sizes.values())
    assert nanogpt_parameters(config) == count.total - sizes["transformer.wpe.weight"]
    assert count.qkv == sum(n for name, n in sizes.items() if name.endswith("c_attn.weight"))
    assert count.mlp == sum(n for name, n in sizes.items() if ".mlp." in name and "weight" in name)
    assert count.biases == sum(n for name, n in sizes.items() if name.endswith(".bias"))


@settings(max_examples=500, deadline=None)
@given(gpt_configs(), batch_sizes)
def test_the_conventions_that_count_matmuls_agree_with_the_components(
    config: GPTConfig, batch: int
) -> None:
    def step(name: str) -> int:
        return CONVENTIONS[name].flops_per_step(config, batch)

    assert step("exact-causal") == model_flops_per_step(config, batch)
    assert step("exact-full") == step("palm") == model_flops_per_step(config, batch, causal=False)
    assert step("hardware-fused") == hardware_flops_per_step(config, batch)
    assert step("megatron") < step("exact-causal") <= step("exact-full") < step("hardware-fused")
