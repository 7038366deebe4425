"""FLOPs of matrix products, convolutions and attention, from the sizes that a trace recorded.

A multiply-add is 2 FLOPs. Attention counts what the model needs: the unmasked half where it is
causal, and in its backward pass the four products, not the fifth that fused kernels repeat
(docs/metrics.md, `exact-causal`). What was recomputed on purpose (activation checkpointing) cannot
be told from the rest and counts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mfubench_model.operator_flops import causal_pairs

from mfubench.trace.events import Shapes

_TYPES = {
    "float": "float32",
    "c10::BFloat16": "bfloat16",
    "c10::Half": "float16",
    "double": "float64",
    "c10::Float8_e4m3fn": "float8",
    "c10::Float8_e5m2": "float8",
    "c10::Float8_e4m3fnuz": "float8",
}
_TF32_KERNEL = re.compile(r"(?i)tf32|s1688|xf32")


@dataclass(frozen=True, slots=True)
class Work:
    """What one call of an operator had to calculate."""

    flops: int
    sizes: str
    """For people: m×n×k of a product, or what else tells calls apart."""
    dtype: str
    """float32 stands for both float32 and TF32: the kernel's name tells which."""


def work_of(name: str, shapes: Shapes) -> Work | None:
    """FLOPs of one call, None where its sizes do not say.

    >>> work_of("aten::mm", Shapes(dims=([2, 3], [3, 4]), types=("float", "float")))
    Work(flops=48, sizes='2×4×3', dtype='float32')
    """
    base = name.removeprefix("aten::")
    try:
        counted = _counted(base, shapes)
    except (IndexError, TypeError, ValueError, ArithmeticError):
        return None  # not as torch writes them
    if counted is None or counted[0] <= 0:
        return None
    types = [t for t in shapes.types if t in _TYPES]
    return Work(counted[0], counted[1], _TYPES[types[0]] if types else "unknown")


def _counted(base: str, shapes: Shapes) -> tuple[int, str] | None:
    dims = shapes.dims
    if base in ("mm", "_int_mm", "_scaled_mm", "bmm"):
        return _product(dims[0], dims[1])
    if base in ("addmm", "_addmm_activation", "baddbmm"):
        return _product(dims[1], dims[2])
    if base == "linear":
        rows = math.prod(dims[0][:-1])
        return _product([rows, dims[0][-1]], list(reversed(dims[1])))
    if "convolution" in base:
        return _convolution(base, shapes)
    if "attention" in base:
        return _attention(base, shapes)
    return None


def _product(left: Sequence[int], right: Sequence[int]) -> tuple[int, str] | None:
    """2·m·n·k, times the batch: (…, m, k) by (…, k, n)."""
    if len(left) < 2 or len(right) < 2 or left[-1] != right[-2]:
        return None
    batch, (m, k), n = math.prod(left[:-2]), left[-2:], right[-1]
    sizes = f"{m}×{n}×{k}"
    return 2 * batch * m * n * k, sizes if len(left) == 2 else f"{batch} of {sizes}"


def _convolution(base: str, shapes: Shapes) -> tuple[int, str] | None:
    """2·(elements of the output)·(channels per group)·(elements of a kernel); each gradient costs
    as much again."""
    if base == "convolution_backward":
        out, given, weight = shapes.dims[:3]
        if not out or not weight:
            return None
        mask = shapes.values[10] if len(shapes.values) > 10 else ""
        gradients = mask.count("True", 0, mask.find(",", mask.find(",") + 1)) if mask else 2
        each = 2 * math.prod(out) * math.prod(weight[1:])
        return each * gradients, f"{_by(given)} * {_by(weight)}, gradients"
    given, weight = shapes.dims[:2]
    places = {"convolution": (3, 4, 5), "_convolution": (3, 4, 5), "cudnn_convolution": (3, 2, 4)}
    if base not in places or len(given) < 3:
        return None
    stride, padding, dilation = (_numbers(shapes.values[i]) for i in places[base])
    if base != "cudnn_convolution" and shapes.values[6] == "True":
        return None  # transposed
    spatial = [
        (size + 2 * pad - dil * (kernel - 1) - 1) // step + 1
        for size, kernel, step, pad, dil in zip(
            given[2:], weight[2:], stride, padding, dilation, strict=True
        )
    ]
    out_elements = given[0] * weight[0] * math.prod(spatial)
    return 2 * out_elements * math.prod(weight[1:]), f"{_by(given)} * {_by(weight)}"


def _by(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"-?\d+", text)]


def _attention(base: str, shapes: Shapes) -> tuple[int, str] | None:
    """Forward: 2 products of 2·(query-key pairs)·width each; backward: 4 of them."""
    backward = "backward" in base
    first = 1 if backward else 0
    query, key, value = shapes.dims[first : first + 3]
    if len(query) != 4 or len(key) != 4:
        return None
    if base.startswith(("_flash_attention", "_efficient_attention")):
        batch, queries, heads, width = query
        keys = key[1]
    else:
        batch, heads, queries, width = query
        keys = key[2]
    causal = _is_causal(base, shapes.values)
    pairs = causal_pairs(queries, keys) if causal else queries * keys
    flops = 2 * batch * heads * pairs * (width + value[-1])
    sizes = f"{batch}×{heads}×{queries}×{width}" + (", causal" if causal else "")
    return flops * (2 if backward else 1), sizes


_CAUSAL_AT = {
    "_scaled_dot_product_flash_attention": 4,
    "_scaled_dot_product_cudnn_attention": 6,
    "_scaled_dot_product_efficient_attention": 6,
    "_scaled_dot_product_fused_attention_overrideable": 5,
    "_scaled_dot_product_flash_attention_for_cpu": 4,
    "scaled_dot_product_attention": 5,
    "_scaled_dot_product_flash_attention_backward": 11,
    "_scaled_dot_product_cudnn_attention_backward": 14,
    "_scaled_dot_product_efficient_attention_backward": 11,
    "_scaled_dot_product_flash_attention_for_cpu_backward": 7,
    "_flash_attention_forward": 8,
    "_flash_attention_backward": 11,
}
"""Where `is_causal` stands among the arguments (native_functions.yaml)."""


def _is_causal(base: str, values: Sequence[Any]) -> bool:
    at = _CAUSAL_AT.get(base)
    return at is not None and at < len(values) and values[at] == "True"


def dtype_of_kernel(dtype: str, kernel: str, *, has_tf32: bool) -> str:
    """The format in which a float32 product really ran, by its kernel's name.

    >>> dtype_of_kernel("float32", "cutlass_80_tensorop_s1688gemm_256x64", has_tf32=True)
    'tf32'
    >>> dtype_of_kernel("float32", "ampere_sgemm_128x64_nn", has_tf32=True)
    'float32'
    """
    is_tf32 = dtype == "float32" and has_tf32 and _TF32_KERNEL.search(kernel) is not None
    return "tf32" if is_tf32 else dtype
