"""Which bar a piece of device time belongs to: by the operators around the call that launched it,
and by its kernel's name."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from mfubench.analysis import components
from mfubench.analysis.kernels import by_kernel_name, is_communication, is_host_copy
from mfubench.trace.events import COPY, DeviceEvent, HostOp

COMMUNICATION = "communication"
HOST_COPIES = "host copies"
UNLINKED = "unlinked"
OTHER = "other operators"
OUTSIDE = "outside operators"


def bar_of(event: DeviceEvent) -> str:
    """The bar of one piece of device time.

    1. What no call on the host is known for is `unlinked`, whatever its name.
    2. A collective is communication, and a copy to or from the host is a host copy.
    3. In the optimizer's step and in gradient clipping everything is theirs.
    4. Kernels of a replayed graph are what their names say: the operator around the replay is all
       of them at once.
    5. Elsewhere the outermost operator that is more than dispatch decides, then the kernel's name,
       then the module, where stacks were recorded.
    """
    if not event.is_linked:
        return UNLINKED
    if event.kind != COPY and is_communication(event.name):
        return COMMUNICATION
    if event.kind == COPY and is_host_copy(event.name):
        return HOST_COPIES
    in_graph = event.launch is not None and event.launch.is_graph
    op = None if in_graph else event.op
    return (
        phase_of(event.op)
        or _by_operators(op)
        or by_kernel_name(event.name)
        or (components.COPIES if event.kind == COPY else None)
        or _by_module(op)
        or (OTHER if any(outer.kind == "op" for outer in around(op)) else OUTSIDE)
    )


def around(op: HostOp | None) -> Iterator[HostOp]:
    """An operator and what is around it, from the inside out."""
    while op is not None:
        yield op
        op = op.parent


_OPTIMIZER_RANGE = re.compile(
    r"(?i)Optimizer\.(step|zero_grad)#.*|.*::phase::optimizer"
    r"|[# ]*(optimizer|zero_grad)[\w .:]*[# ]*"
)
_CLIP_RANGE = re.compile(r"(?i).*::phase::clip|.*\bclip_grad\w*|[# ]*(grad(ient)?_?)?clip\w*[# ]*")


@functools.lru_cache(maxsize=4096)
def _phase_of_name(name: str) -> str | None:
    if _OPTIMIZER_RANGE.fullmatch(name):
        return components.OPTIMIZER
    return components.CLIP if _CLIP_RANGE.fullmatch(name) else None


def phase_of(op: HostOp | None) -> str | None:
    """`optimizer` or `clip` inside their ranges or frames, else None."""
    for outer in around(op):
        if outer.kind != "op" and (phase := _phase_of_name(outer.name)) is not None:
            return phase
    return None


_FUSED_OPTIMIZER = re.compile(r"aten::_fused_(adamw?|sgd|adagrad)_?")
_DISPATCH_THAT_MULTIPLIES = frozenset({"aten::linear", "aten::matmul"})
_named = functools.lru_cache(maxsize=65536)(components.by_name)


def _by_operators(op: HostOp | None) -> str | None:
    chain = [outer for outer in around(op) if outer.kind == "op"]
    for outer in reversed(chain):
        if _FUSED_OPTIMIZER.fullmatch(outer.name):
            return components.OPTIMIZER
        named = _named(outer.name)
        # An .item() is a copy to the host; what else it launches is no waiting.
        if named not in (None, components.DISPATCH, components.SYNC):
            return named
    if chain and chain[0].name in _DISPATCH_THAT_MULTIPLIES:
        return components.GEMM
    if chain and chain[0].name in ("aten::add", "aten::add_"):
        return components.RESIDUAL
    return None


_MODULE = re.compile(r"nn\.Module: (\w+?)_\d+")


def _by_module(op: HostOp | None) -> str | None:
    for outer in around(op):
        if outer.kind == "frame" and (match := _MODULE.fullmatch(outer.name)):
            found = components.of_module_name(match[1])
            if found == components.GEMM:
                return components.RESIDUAL  # a bias: memory-bound, like the residual
            if found is not None:
                return found
    return None
