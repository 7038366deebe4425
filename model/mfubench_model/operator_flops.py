"""FLOPs of one operator of torch from its shapes alone: matrix products, convolutions, attention
and recurrent layers, as the dispatcher or a compiled graph names them.

A multiply-add is 2 FLOPs. Everything that is not one of these counts as 0, as in `flops.py`.
Only shapes are read, so the arguments may be tensors of any device, meta and fake ones included.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Arguments = Mapping[str, Any]
"""An operator's arguments by the names of its schema."""


@dataclass(frozen=True, slots=True)
class OperatorFlops:
    """FLOPs of one call, by three conventions."""

    model: int
    """What the mathematics needs: causal attention only its unmasked half, nothing twice."""
    full: int
    """The same with full attention, whatever the mask."""
    executed: int
    """What a kernel carries out that skips nothing: full attention, and in a fused attention's
    backward the scores again (5 matrix products where the mathematics needs 4)."""


@functools.cache
def argument_names(func: Any) -> tuple[str, ...]:
    """The names of an operator's arguments in their order."""
    return tuple(argument.name for argument in func._schema.arguments)


def bound(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name; what was left to its default is absent."""
    return {**dict(zip(argument_names(func), args, strict=False)), **kwargs}


def operator_flops(name: str, given: Arguments, out: Any) -> OperatorFlops | None:
    """FLOPs of a call of the operator `name` ("aten::mm"), or None where it has no formula.

    >>> import torch
    >>> a, b = torch.zeros(2, 3), torch.zeros(3, 4)
    >>> operator_flops("aten::mm", {"self": a, "mat2": b}, a @ b).model
    48
    >>> operator_flops("aten::relu", {"self": a}, a) is None
    True
    """
    formula = _FORMULAS.get(name)
    return None if formula is None else formula(given, out)


_HIDES_PRODUCTS = re.compile(
    r"aten::(_fft_\w+|linalg_(?!vector_norm)\w+|_linalg_\w+|_cdist_\w+|cholesky\w*|_cholesky\w*|triangular_solve|"
    r"_trilinear|geqrf|ormqr|lu_\w+|_nested_tensor_\w+|_transformer_encoder_layer_fwd|"
    r"_native_multi_head_attention|_sparse_mm\w*|_sparse_addmm|_scaled_grouped_mm\w*|"
    r"_(flash|efficient)_attention_(forward|backward)|quantized_\w+)"
)
_OURS = ("aten", "prims", "prim", "profiler", "c10d", "_c10d_functional", "inductor", "rngprims")


def may_hide_flops(name: str) -> bool:
    """Whether an operator without a formula may hold matrix products: one that torch does not
    define, or one of torch's own that multiplies matrices in a way that nobody has counted here.

    >>> [may_hide_flops(name) for name in ("mylib::mix", "aten::_fft_r2c", "aten::add")]
    [True, True, False]
    """
    namespace, _, _ = name.partition("::")
    return namespace not in _OURS or bool(_HIDES_PRODUCTS.fullmatch(name))


def _same(flops: int) -> OperatorFlops:
    return OperatorFlops(flops, flops, flops)


def _product(left: str, right: str) -> Callable[[Arguments, Any], OperatorFlops]:
    """A product of (…, m, k) by (…, k, n) or by a vector of k: 2·(elements of the left)·n."""

    def formula(given: Arguments, out: Any) -> OperatorFlops:
        right_shape = given[right].shape
        columns = right_shape[-1] if len(right_shape) > 1 else 1
        return _same(2 * math.prod(given[left].shape) * columns)

    return formula


def _grouped(given: Arguments, out: Any) -> OperatorFlops:
    """Rows, columns or the inner size are cut into groups: 2·m·k·n whichever it is; (g, m, k) by
    (g, k, n) is a batch of products."""
    left, right = given["self"].shape, given["mat2"].shape
    batch = left[0] if len(left) == len(right) == 3 else 1
    return _same(2 * batch * left[-2] * left[-1] * right[-1])


def _convolution_flops(given: Arguments, out_shape: Sequence[int]) -> int:
    """2·(elements of the output)·(input channels per group)·(elements of a kernel); a transposed
    one spreads its input instead, so its input's elements count."""
    kernel = math.prod(given["weight"].shape[1:])
    spread = given["input"].shape if given["transposed"] else out_shape
    return int(2 * math.prod(spread) * kernel)


def _convolution(given: Arguments, out: Any) -> OperatorFlops:
    return _same(_convolution_flops(given, out.shape))


def _convolution_backward(given: Arguments, out: Any) -> OperatorFlops:
    """As much as the forward for the input's gradient and again for the weight's, where asked."""
    wanted = sum(map(bool, given["output_mask"][:2]))
    return _same(wanted * _convolution_flops(given, given["grad_output"].shape))


def _linear(given: Arguments, out: Any) -> OperatorFlops:
    weight = given["weight"].shape
    return _same(2 * math.prod(out.shape[:-1]) * weight[0] * weight[1])


def _recurrent(times: int, weights: Callable[[Arguments], list[Any]]) -> Any:
    """Every element of every weight matrix, once per sequence and time step."""

    def formula(given: Arguments, out: Any) -> OperatorFlops:
        tokens = math.prod(given["input"].shape[:-1])
        elements = sum(math.prod(w.shape) for w in weights(given) if len(w.shape) == 2)
        return _same(2 * times * tokens * elements)

    return formula


def causal_pairs(queries: int, keys: int) -> int:
    """Query-key pairs under a causal mask that starts at the first query and key.

    >>> causal_pairs(4, 4), causal_pairs(4, 2)
    (10, 7)
    """
    square = min(queries, keys)
    return square * (square + 1) // 2 + max(0, queries - keys) * keys


def _attention(*, backward: bool, heads_first: bool = True) -> Any:
    """Forward: scores Q·Kᵀ and their product with V, two matrix products per pair of a query and a
    key. Backward: dV = Pᵀ·dO and dP = dO·Vᵀ over the value width, dQ = dS·K and dK = dSᵀ·Q over the
    query width; a fused kernel multiplies Q·Kᵀ again (Dao et al. 2022, arXiv 2205.14135).

    Shapes are (B, H, T, Q), or (B, T, H, Q) where heads come third. With fewer key than query heads
    the keys are shared, which saves memory and no FLOPs.
    """

    def formula(given: Arguments, out: Any) -> OperatorFlops | None:
        if any(given.get(n) is not None for n in ("cum_seq_q", "cu_seqlens_q")) and not heads_first:
            return None  # packed sequences: their lengths are data
        query, key, value = (given[n].shape for n in ("query", "key", "value"))
        time, head = (2, 1) if heads_first else (1, 2)
        queries, keys = query[time], key[time]
        causal = given.get("is_causal") or given.get("custom_mask_type") == 1
        rows = 2 * query[0] * query[head]
        full_pairs = rows * queries * keys
        pairs = rows * causal_pairs(queries, keys) if causal else full_pairs
        products = (query[3] + value[3]) * (2 if backward else 1)
        again = full_pairs * query[3] if backward else 0
        full = full_pairs * products
        return OperatorFlops(pairs * products, full, full + again)

    return formula


_FORMULAS: dict[str, Callable[[Arguments, Any], OperatorFlops | None]] = {
    "aten::mm": _product("self", "mat2"),
    "aten::bmm": _product("self", "mat2"),
    "aten::mv": _product("self", "vec"),
    "aten::dot": _product("self", "tensor"),
    "aten::vdot": _product("self", "other"),
    "aten::addmm": _product("mat1", "mat2"),
    "aten::_addmm_activation": _product("mat1", "mat2"),
    "aten::addmv": _product("mat", "vec"),
    "aten::baddbmm": _product("batch1", "batch2"),
    "aten::addbmm": _product("batch1", "batch2"),
    "aten::_int_mm": _product("self", "mat2"),
    "aten::_scaled_mm": _product("self", "mat2"),
    "aten::_grouped_mm": _grouped,
    "aten::mkldnn_linear": _linear,
    "mkldnn::_linear_pointwise": _linear,
    "aten::convolution": _convolution,
    "aten::_convolution": _convolution,
    "aten::convolution_overrideable": _convolution,
    "aten::convolution_backward": _convolution_backward,
    "aten::convolution_backward_overrideable": _convolution_backward,
    "aten::mkldnn_rnn_layer": _recurrent(1, lambda given: [given["weight0"], given["weight1"]]),
    "aten::mkldnn_rnn_layer_backward": _recurrent(
        2, lambda given: [given["weight1"], given["weight2"]]
    ),
    "aten::_cudnn_rnn": _recurrent(1, lambda given: given["weight"]),
    "aten::_cudnn_rnn_backward": _recurrent(2, lambda given: given["weight"]),
}
for _kind in (
    "flash_attention_for_cpu",
    "flash_attention",
    "efficient_attention",
    "cudnn_attention",
    "fused_attention_overrideable",
):
    _FORMULAS[f"aten::_scaled_dot_product_{_kind}"] = _attention(backward=False)
    _FORMULAS[f"aten::_scaled_dot_product_{_kind}_backward"] = _attention(backward=True)
for _kind in ("flash", "efficient"):
    for _way in ("forward", "backward"):
        _FORMULAS[f"aten::_{_kind}_attention_{_way}"] = _attention(
            backward=_way == "backward", heads_first=False
        )
