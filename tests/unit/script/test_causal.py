"""Attention that is written out counts what the fused one does, where its mask is causal."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mfubench.script.count import StepCounter
from mfubench.script.recorder import Recorder
from mfubench.script.tally import Tally

BATCH, TIME, HEADS, WIDTH = 3, 8, 2, 5
LOWER = torch.ones(TIME, TIME).tril().view(1, 1, TIME, TIME)
MINUS_INFINITY = torch.full((TIME, TIME), float("-inf")).triu(1)
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def counted(attention: Attention) -> Tally:
    q, k, v = (torch.randn(BATCH, HEADS, TIME, WIDTH, requires_grad=True) for _ in range(3))
    counter = StepCounter(Recorder())
    counter.start()
    attention(q, k, v).sum().backward()
    assert counter.stop()
    return counter.tally


def written_out(
    mask: Callable[[Tensor], Tensor], after: Callable[[Tensor], Tensor] = lambda weights: weights
) -> Attention:
    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(WIDTH))
        return after(F.softmax(mask(scores), dim=-1)) @ v

    return attention


def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


CAUSAL: dict[str, Attention] = {
    "as nanoGPT": written_out(lambda s: s.masked_fill(LOWER == 0, float("-inf"))),
    "in place": written_out(lambda s: s.masked_fill_(LOWER == 0, -1e9)),
    "with dropout": written_out(
        lambda s: s.masked_fill(LOWER == 0, float("-inf")), lambda w: F.dropout(w, 0.3)
    ),
    "by where": written_out(
        lambda s: torch.where(LOWER == 1, s, torch.tensor(torch.finfo(s.dtype).min))
    ),
    "by addition": written_out(lambda s: s + MINUS_INFINITY),
    "in another format": written_out(
        lambda s: s.bfloat16().masked_fill(LOWER == 0, float("-inf")), lambda w: w.float()
    ),
    "unfused for its dropout": lambda q, k, v: F.scaled_dot_product_attention(
        q, k, v, is_causal=True, dropout_p=0.3
    ),
}
NOT_CAUSAL: dict[str, Attention] = {
    "no mask": written_out(lambda s: s),
    "a window": written_out(lambda s: s.masked_fill(LOWER.triu(-2) == 0, float("-inf"))),
    "padding too": written_out(
        lambda s: s.masked_fill(
            (LOWER == 0) | (torch.arange(BATCH).view(-1, 1, 1, 1) == 1), float("-inf")
        ).nan_to_num()
    ),
    "a small penalty": written_out(lambda s: s.masked_fill(LOWER == 0, -5.0)),
    "no softmax": lambda q, k, v: (
        (q @ k.transpose(-2, -1)).masked_fill(LOWER == 0, float("-inf")).sigmoid() @ v
    ),
    "another softmax": lambda q, k, v: (
        F.softmax((q @ k.transpose(-2, -1)).masked_fill(LOWER == 0, float("-inf")), dim=1) @ v
    ),
}
FULL = 6 * 2 * BATCH * HEADS * TIME * TIME * WIDTH
HALF = FULL * (TIME + 1) // (2 * TIME)


@pytest.mark.parametrize("name", CAUSAL)
def test_a_causal_mask_takes_half_of_all_six_products(name: str) -> None:
    tally = counted(CAUSAL[name])
    assert (tally.model_flops, tally.full_flops, tally.hardware_flops) == (HALF, FULL, FULL)
    assert tally.flops("model", "forward") * 3 == tally.model_flops
    assert counted(fused).model_flops == HALF


@pytest.mark.parametrize("name", NOT_CAUSAL)
def test_anything_else_counts_in_full(name: str) -> None:
    tally = counted(NOT_CAUSAL[name])
    assert tally.model_flops == tally.full_flops == FULL


def test_torchs_own_attention_with_weights_is_written_out_too() -> None:
    module = nn.MultiheadAttention(8, HEADS, batch_first=True, bias=False)
    x = torch.randn(BATCH, TIME, 8)

    def step(mask: Tensor | None) -> Tally:
        counter = StepCounter(Recorder())
        counter.start()
        module(x, x, x, attn_mask=mask, need_weights=True)[0].sum().backward()
        assert counter.stop()
        return counter.tally

    causal, full = step(MINUS_INFINITY), step(None)
    products = 6 * 2 * BATCH * TIME * TIME * 8
    assert full.model_flops == full.full_flops == causal.full_flops
    assert full.model_flops - causal.model_flops == products - products * (TIME + 1) // (2 * TIME)
    by_module = sum(total.model for total in causal.modules.values())
    assert by_module == causal.model_flops
