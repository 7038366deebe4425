"""Count the FLOPs of any torch code by watching its operators, with fused attention counted alike
on every device.

torch's own counter (torch.utils.flop_counter, up to 2.13 at least) has no formula for the fused
attention operator of the CPU, so that attention counts as 0 there, and charges fused attention on
CUDA with 5 matmuls in backward, so that the same model counts differently on two devices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

Shape = Sequence[int]

_aten = torch.ops.aten
_FUSED_FORWARD = (
    _aten._scaled_dot_product_flash_attention_for_cpu,
    _aten._scaled_dot_product_flash_attention,
    _aten._scaled_dot_product_efficient_attention,
    _aten._scaled_dot_product_cudnn_attention,
)
_FUSED_BACKWARD = (
    _aten._scaled_dot_product_flash_attention_for_cpu_backward,
    _aten._scaled_dot_product_flash_attention_backward,
    _aten._scaled_dot_product_efficient_attention_backward,
    _aten._scaled_dot_product_cudnn_attention_backward,
)


def _pair_products(query: Shape, key: Shape, width: int) -> int:
    """FLOPs of one multiply-add per query-key pair and unit of width: 2·B·H·Tq·Tk·width."""
    batch, heads, queries = query[0], query[1], query[2]
    return 2 * batch * heads * queries * key[2] * width


def attention_forward_flops(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    """Two matmuls: scores Q·Kᵀ and their product with V. Shapes are (B, H, T, Q); the mask is not
    considered.

    With fewer key than query heads the keys are shared, which saves memory and no FLOPs.

    >>> attention_forward_flops((1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4))
    288
    """
    return _pair_products(query, key, query[3] + value[3])


def attention_backward_flops(
    grad: Shape, query: Shape, key: Shape, value: Shape, *_: Any, **__: Any
) -> int:
    """Four matmuls: dV = Pᵀ·dO and dP = dO·Vᵀ over the value width, dQ = dS·K and dK = dSᵀ·Q over
    the query width.

    >>> attention_backward_flops((1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4))
    576
    """
    return 2 * attention_forward_flops(query, key, value)


def attention_recomputing_backward_flops(
    grad: Shape, query: Shape, key: Shape, value: Shape, *_: Any, **__: Any
) -> int:
    """Five matmuls: the four, and the scores Q·Kᵀ again because a fused kernel did not keep them.

    >>> attention_recomputing_backward_flops((1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4))
    720
    """
    return attention_backward_flops(grad, query, key, value) + _pair_products(query, key, query[3])


def count_dispatched_flops(fn: Callable[[], object], *, recompute: bool = False) -> int:
    """Run `fn` once and return the matmul FLOPs (convolutions too) of all operators it dispatched,
    backward included.

    `recompute` says what fused attention is charged with in its backward: False for what the model
    needs (4 matmuls), True for what the kernel does (5). On a meta device nothing is computed and
    memory is not needed.

    Left out: masks (causal attention counts in full), everything that is not a matmul or
    convolution, and code that hides its operators: do not pass a compiled module, which this can
    also leave slow.

    >>> a = torch.zeros(2, 3)
    >>> count_dispatched_flops(lambda: a @ a.T)
    24
    """
    backward = attention_recomputing_backward_flops if recompute else attention_backward_flops
    formulas: dict[Any, Any] = dict.fromkeys(_FUSED_FORWARD, attention_forward_flops)
    formulas |= dict.fromkeys(_FUSED_BACKWARD, backward)
    with FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        fn()
    flops: int = counter.get_total_flops()
    return flops
