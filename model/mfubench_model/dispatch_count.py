"""Count the FLOPs of any torch code by watching its operators as they run, every one of them once.

Not torch's own counter (torch.utils.flop_counter, up to 2.13 at least): that has no formula for
the fused attention of the CPU, so that attention counts as 0 there, charges fused attention on CUDA
with 5 matrix products in backward, knows no causal mask, and returns from higher-order operators
without running them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from mfubench_model.operator_flops import OperatorFlops, bound, operator_flops


class DispatchCounter(TorchDispatchMode):
    """Within it, `counted` is called after each operator that the dispatcher runs.

    Nothing about the operator changes. Compiled code runs as it would outside: torch.compile is
    told to ignore this mode.
    """

    supports_higher_order_operators = True

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """torch.compile skips, for ever, what is first called under a mode that does not say so."""
        return True

    def __torch_dispatch__(
        self, func: Any, types: object, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self.counted(func, args, kwargs, out)
        return out

    def counted(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        """Called with every operator, its arguments and what it gave."""


class _Total(DispatchCounter):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops: list[OperatorFlops] = []

    def counted(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        if hasattr(func, "_schema"):
            flops = operator_flops(func._schema.name, bound(func, args, kwargs), out)
            if flops is not None:
                self.flops.append(flops)


def count_dispatched_flops(fn: Callable[[], object], *, recompute: bool = False) -> int:
    """Run `fn` once and return the FLOPs of all operators it dispatched, backward included: matrix
    products, convolutions, attention, recurrent layers.

    `recompute` says what fused attention is charged with in its backward: False for what the model
    needs (4 products), True for what the kernel does (5). On a meta device nothing is computed and
    memory is not needed.

    Left out: masks (causal attention counts in full) and code that hides its operators, as a
    compiled module does.

    >>> import torch
    >>> a = torch.zeros(2, 3)
    >>> count_dispatched_flops(lambda: a @ a.T)
    24
    """
    with _Total() as counter:
        fn()
    return sum(f.executed if recompute else f.full for f in counter.flops)
