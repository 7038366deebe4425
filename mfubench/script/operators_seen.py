"""The operators of a counted step as a probe knows them, so that its time elsewhere can be
predicted.

Only forward passes are looked at: a probe times an operator's forward and backward together.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mfubench_model.operator_flops import bound

from mfubench.predict.counted import CountedOperator
from mfubench.predict.document import OperatorName
from mfubench.script.tally import COUNTED, HIDING, kind_of, name_of

_FACTORS: Mapping[str, tuple[str, str]] = {
    "aten::mm": ("self", "mat2"),
    "aten::bmm": ("self", "mat2"),
    "aten::addmm": ("mat1", "mat2"),
    "aten::_addmm_activation": ("mat1", "mat2"),
    "aten::baddbmm": ("batch1", "batch2"),
}


def _named(operator: OperatorName, *names: str) -> dict[str, OperatorName]:
    return {f"aten::{name}{end}": operator for name in names for end in ("", "_")}


_BY_ELEMENTS: Mapping[str, OperatorName] = {
    **_named("norm", "native_layer_norm", "native_group_norm", "native_batch_norm"),
    **_named("norm", "_fused_rms_norm"),
    **_named("gelu", "gelu", "silu", "tanh", "sigmoid", "_softmax", "_safe_softmax", "exp"),
    **_named("gelu", "mish", "elu", "softplus"),
    **_named("add", "add", "sub", "mul", "div", "relu", "leaky_relu", "pow", "rsqrt", "sqrt"),
    **_named("add", "where", "masked_fill", "clamp", "clamp_min", "neg", "cat", "mean", "addcmul"),
    **_named("dropout", "native_dropout", "bernoulli"),
    **_named("gather", "embedding"),
}
"""What has a time per element of what it gives, and which operator of a probe is like it."""
_WITH_A_MASK = 2
"""A dropout on a CPU is a mask, its division, and a product: the latter two are in its time."""
_NORMS_OF_GRADIENTS = ("aten::_foreach_norm", "aten::linalg_vector_norm")


Seen = tuple[OperatorName, tuple[int, ...]]


class OperatorsSeen:
    """Counts operators of forward passes by shape."""

    def __init__(self) -> None:
        self.counts: Counter[Seen] = Counter()
        self.unknown: Counter[str] = Counter()
        self.clips = False
        self._in_dropout = 0

    def add(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        """One call between two updates and outside of backward passes, and what it gave."""
        name = name_of(func)
        if not torch.is_grad_enabled():
            self.clips |= name in _NORMS_OF_GRADIENTS
            return
        found = _larger(name, func, args, kwargs) or self._small(name, out)
        if found is not None:
            self.counts[found] += 1
        elif kind_of(func) in (COUNTED, HIDING):
            self.unknown[name] += 1
        if name == "aten::embedding":
            self.counts["table", (int(args[0].numel()),)] += 1  # its gradient is a table

    def _small(self, name: str, out: Any) -> Seen | None:
        """What has a time per element."""
        operator, elements = _BY_ELEMENTS.get(name), _elements(out)
        if operator is None or not elements:
            return None
        if operator == "add" and self._in_dropout:
            self._in_dropout -= 1
            return None
        if operator == "dropout":
            self._in_dropout = 0 if name == "aten::native_dropout" else _WITH_A_MASK
        return operator, (elements,)

    def rows(self, parameters: Sequence[Any]) -> list[CountedOperator]:
        """All of the step: what was seen, and the optimizer's tensors, clipped or not."""
        counts = Counter(self.counts)
        for parameter in parameters:
            size = (int(parameter.numel()),)
            counts["adamw", size] += 1
            if self.clips:
                counts["clip", size] += 1
        return [
            CountedOperator(operator=operator, shape=list(shape), count=count)
            for (operator, shape), count in sorted(counts.items())
        ]


def _larger(name: str, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Seen | None:
    """Products, attention and losses, whose time goes by more than one size."""
    if name in _FACTORS:
        given = bound(func, args, kwargs)
        a, b = (given[factor] for factor in _FACTORS[name])
        return "linear", (math.prod(a.shape[:-1]), int(a.shape[-1]), int(b.shape[-1]))
    if name.startswith("aten::_scaled_dot_product_"):
        given = bound(func, args, kwargs)
        *several, context, head_size = given["query"].shape
        operator: OperatorName = "attention_dropout" if given.get("dropout_p") else "attention"
        return operator, (math.prod(several), int(context), int(head_size))
    if name == "aten::nll_loss_forward":
        *rows, vocabulary = args[0].shape
        return "loss", (math.prod(rows), int(vocabulary))
    return None


def _elements(out: Any) -> int:
    """Of a result, or the first of several; 0 where it is no tensor of floating-point numbers."""
    first = out[0] if isinstance(out, tuple | list) and out else out
    is_floating = isinstance(first, torch.Tensor) and first.is_floating_point()
    return int(first.numel()) if is_floating else 0
