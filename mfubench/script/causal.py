"""Attention that is written out, as in nanoGPT's slow path: two matrix products with a mask and a
softmax between them. Where the mask is causal, half of its products is not needed, as of a fused
attention that is called causal.

What is followed is data, not names: the product of queries and keys is known by its storage,
through scaling, mask, softmax and dropout, to the product with the values; and back again in
backward. The mask itself is looked at. Nothing is halved on less evidence than that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mfubench_model.operator_flops import bound, causal_pairs
from torch.multiprocessing.reductions import StorageWeakRef

from mfubench.script.tally import Tally

BLOCKED_FROM = -1e4
"""A score of this or less is masked: the softmax makes it 0 in every format."""
_PRODUCTS = ("aten::bmm", "aten::baddbmm")
_SCORES = ("aten::mul", "aten::mul_", "aten::div", "aten::div_", "aten::add", "aten::add_",
           "aten::_to_copy", "aten::clone", "aten::native_dropout", "aten::native_dropout_backward",
           "aten::where", "aten::masked_fill", "aten::masked_fill_")  # fmt: skip
_WEIGHTS = tuple(name for name in _SCORES if not name.startswith(("aten::add", "aten::where")))
"""What leaves a weight of 0 at 0."""
_SOFTMAX = ("aten::_softmax", "aten::_safe_softmax")
SEEN = frozenset((*_PRODUCTS, *_SCORES, *_SOFTMAX, "aten::_softmax_backward_data"))


@dataclass(frozen=True, slots=True)
class Product:
    """A counted product whose result has a row per query and a column per key."""

    phase: str
    operator: str
    module: str
    flops: int
    shape: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known of a tensor's storage."""

    product: Product | None
    """The product that its scores come from."""
    is_masked: bool = False
    is_weights: bool = False
    """Causal weights, or the gradient of their scores: zero above the diagonal."""


class CausalWatch:
    """Follows written-out attention through one counted step, and takes the masked half out."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._marks: dict[int, tuple[StorageWeakRef, Mark]] = {}
        self._masks: dict[int, tuple[StorageWeakRef, bool]] = {}

    def after(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        out: Any,
        *,
        phase: str,
        module: str,
    ) -> None:
        """Called after each operator of `SEEN`; products have been counted already."""
        name, given = func._schema.name, bound(func, args, kwargs)
        result = out[0] if isinstance(out, tuple) else out
        if not isinstance(result, torch.Tensor) or result.dim() < 2:
            return
        if name in _PRODUCTS:
            self._product(name, given, result, phase, module)
        elif name in _SOFTMAX:
            mark = self._mark(given["self"])
            is_last = given["dim"] in (-1, result.dim() - 1)
            if mark is not None and mark.is_masked and mark.product is not None and is_last:
                self._halve(mark.product)
                self._set(result, Mark(mark.product, is_weights=True))
        elif name == "aten::_softmax_backward_data":
            weights, gradient = self._mark(given["output"]), self._mark(given["grad_output"])
            if weights is not None and weights.is_weights:
                if gradient is not None and gradient.product is not None:
                    self._halve(gradient.product)
                self._set(result, Mark(None, is_weights=True))
        else:
            self._pass_on(name, given, result)

    def _product(
        self, name: str, given: Mapping[str, Any], result: Any, phase: str, module: str
    ) -> None:
        left, right = ("self", "mat2") if name == "aten::bmm" else ("batch1", "batch2")
        flops = 2 * given[left].numel() * int(given[right].shape[-1])
        for factor in (given[left], given[right]):
            mark = self._mark(factor)
            if mark is not None and mark.is_weights:
                self._halve(Product(phase, name, module, flops, _square(factor)))
                return
        is_masked = name == "aten::baddbmm" and self._blocks_future(given["self"], result.shape)
        product = Product(phase, name, module, flops, _square(result))
        self._set(result, Mark(product, is_masked=is_masked))

    def _halve(self, product: Product) -> None:
        queries, keys = product.shape
        needed = product.flops * causal_pairs(queries, keys) // (queries * keys)
        self._tally.take_off(
            product.phase, product.operator, product.module, product.flops - needed
        )

    def _pass_on(self, name: str, given: Mapping[str, Any], result: Any) -> None:
        """An operator on each element: what is known of its input is known of its result."""
        marks = [
            mark
            for value in given.values()
            if isinstance(value, torch.Tensor)
            and value.numel() == result.numel()
            and (mark := self._mark(value)) is not None
        ]
        if not marks:
            return
        mark = marks[0]
        if mark.is_weights:
            if name in _WEIGHTS or (name == "aten::where" and _number(given["other"]) == 0):
                self._set(result, mark)
            return
        if not mark.is_masked and self._is_mask(name, given, result):
            mark = Mark(mark.product, is_masked=True)
        self._set(result, mark)

    def _is_mask(self, name: str, given: Mapping[str, Any], result: Any) -> bool:
        if name.startswith("aten::masked_fill"):
            return _blocks(given["value"]) and self._blocks_future(given["mask"], result.shape)
        if name == "aten::where":
            return _blocks(given["other"]) and self._blocks_future(
                given["condition"], result.shape, keeps=True
            )
        if name.startswith("aten::add"):
            return self._blocks_future(given["other"], result.shape)
        return False

    def _blocks_future(self, mask: Any, shape: Sequence[int], *, keeps: bool = False) -> bool:
        """Whether a mask blocks exactly the keys after each query: a mask of truths, which block or
        keep, or one of numbers that are added."""
        if not isinstance(mask, torch.Tensor) or mask.dim() < 2 or mask.shape[-2:] != shape[-2:]:
            return False
        if _may_not_read(mask):
            return False
        storage = mask.untyped_storage()
        known = self._masks.get(storage._cdata)
        if known is not None and not known[0].expired():
            return known[1]
        blocked = mask if mask.dtype == torch.bool else mask <= BLOCKED_FROM
        if keeps:
            blocked = ~blocked
        future = torch.ones(mask.shape[-2:], dtype=torch.bool, device=mask.device).triu(1)
        found = bool((blocked == future).all())
        self._masks[storage._cdata] = (StorageWeakRef(storage), found)
        return found

    def _mark(self, tensor: torch.Tensor) -> Mark | None:
        known = self._marks.get(tensor.untyped_storage()._cdata)
        return None if known is None or known[0].expired() else known[1]

    def _set(self, tensor: torch.Tensor, mark: Mark) -> None:
        storage = tensor.untyped_storage()
        self._marks[storage._cdata] = (StorageWeakRef(storage), mark)


def _square(tensor: torch.Tensor) -> tuple[int, int]:
    return int(tensor.shape[-2]), int(tensor.shape[-1])


def _number(value: Any) -> float | None:
    """A number, or what a tensor of one element holds; None for anything else."""
    if isinstance(value, torch.Tensor):
        if value.numel() != 1 or _may_not_read(value):
            return None
        value = value.item()
    return float(value) if isinstance(value, int | float) else None


def _blocks(value: Any) -> bool:
    number = _number(value)
    return number is not None and number <= BLOCKED_FROM


def _may_not_read(tensor: torch.Tensor) -> bool:
    """While a CUDA graph is captured nothing may wait for the device."""
    return tensor.is_cuda and torch.cuda.is_current_stream_capturing()
