"""The worked numbers that the documentation quotes, and the inputs that are refused."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mfubench_model.config import ConfigError, ContextTooLongError, GPTConfig
from mfubench_model.dispatch_count import count_dispatched_flops
from mfubench_model.flops import (
    COMPONENTS,
    CONVENTIONS,
    component_flops,
    model_flops_per_step,
    nanogpt_mfu,
)

GPT2 = GPTConfig(bias=False)


@pytest.mark.parametrize(
    ("name", "mflop_per_token"),
    [
        ("exact-causal", 798.087168),
        ("megatron", 798.03),
        ("llm.c", 802.87),
        ("nanogpt", 854.77),
        ("palm", 854.65),
        ("exact-full", 854.65),
        ("hardware-fused", 873.53),
        ("kaplan", 566.2),
        ("chinchilla", 1087.78),
    ],
)
def test_gpt2_by_each_convention(name: str, mflop_per_token: float) -> None:
    per_token = CONVENTIONS[name].flops_per_step(GPT2, 12) / (12 * 1024) / 1e6
    assert per_token == pytest.approx(mflop_per_token, abs=0.05)


def test_conventions_are_ordered_with_ours_first_and_say_where_they_come_from() -> None:
    assert next(iter(CONVENTIONS)) == "exact-causal"
    assert len(CONVENTIONS) == 9
    for name, convention in CONVENTIONS.items():
        assert convention.name == name
        assert convention.formula
        assert convention.source


def test_llm_c_with_biases_is_the_figure_that_it_prints() -> None:
    per_token = CONVENTIONS["llm.c"].flops_per_step(GPTConfig(bias=True), 1) / 1024 / 1e6
    assert per_token == pytest.approx(803.5, abs=0.05)


def test_one_token_attends_to_itself_alone() -> None:
    tiny = GPTConfig(block_size=1, vocab_size=2, n_layer=1, n_head=1, n_embd=1, bias=True)
    forward = {name: part.forward for name, part in component_flops(tiny, 1).items()}
    assert forward == {
        "qkv": 6,
        "attention_scores": 2,
        "attention_values": 2,
        "projection": 2,
        "mlp": 16,
        "head": 4,
    }
    assert tuple(forward) == COMPONENTS
    assert model_flops_per_step(tiny, 1) == model_flops_per_step(tiny, 1, causal=False) == 96


def test_biases_add_no_matmul_flops() -> None:
    assert model_flops_per_step(GPTConfig(bias=True), 3) == model_flops_per_step(GPT2, 3)


def test_nanogpt_mfu_is_what_an_a100_log_shows() -> None:
    # 312e12 FLOP/s for exactly the time that the step's FLOPs take is 100 %.
    seconds = CONVENTIONS["nanogpt"].flops_per_step(GPT2, 480) / 312e12
    assert nanogpt_mfu(GPT2, 480, seconds) == pytest.approx(1.0)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_that_cannot_be_is_refused(seconds: float) -> None:
    with pytest.raises(ConfigError, match="must be a positive, finite number"):
        nanogpt_mfu(GPT2, 1, seconds)


@pytest.mark.parametrize("batch_size", [0, -3, 1.0, True, None])
def test_a_batch_that_cannot_be_is_refused(batch_size: object) -> None:
    with pytest.raises(ConfigError, match="batch_size is"):
        component_flops(GPT2, batch_size)  # type: ignore[arg-type]


def test_a_context_beyond_the_positions_is_refused() -> None:
    with pytest.raises(ContextTooLongError, match=r"context is 1025 tokens.*1024 positions"):
        component_flops(GPT2, 1, context=1025)


def test_foreign_attention_with_shared_keys_and_its_own_lengths_is_counted() -> None:
    query = torch.randn(2, 4, 6, 8, requires_grad=True)
    key = torch.randn(2, 4, 10, 8, requires_grad=True)
    value = torch.randn(2, 4, 10, 8, requires_grad=True)

    def step() -> None:
        F.scaled_dot_product_attention(query, key, value).sum().backward()

    pair = 2 * 2 * 4 * 6 * 10 * 8  # one multiply-add for each of B, H, Tq, Tk, Q
    assert count_dispatched_flops(step) == 6 * pair
    assert count_dispatched_flops(step, recompute=True) == 7 * pair
