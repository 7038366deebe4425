"""A profiled step as a plain tree of operators, each with its own time and its component.

torch's profiler gives nested events. Time that an operator spends in operators below it is theirs;
what is left is its own (`self_s`). Every event costs the profiler some time, most of it outside the
event's own interval and so inside its parent's: `event_cost_s` per child is taken from the parent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mfubench.analysis import components
from mfubench.analysis.intervals import clipped, total, union
from mfubench.analysis.kernels import by_kernel_name
from mfubench.measure.device_events import OnDevice, interval_ns, on_host, within

STEP = "mfubench::step"
PHASE = "mfubench::phase::"
MODULE = "mfubench::module::"


@dataclass(slots=True)
class Op:
    """One operator of one step."""

    name: str
    phase: str
    self_s: float
    """Host seconds in it and in nothing below it, the profiler's cost taken out."""
    kernels: list[tuple[str, float]]
    """Name and seconds of each kernel that it launched itself; empty on a CPU."""
    start_us: float
    module: str | None = None
    """Component of the module that it ran in, where that was seen."""
    children: list[Op] = field(default_factory=list)

    @property
    def device_s(self) -> float:
        """Seconds of the kernels that it launched itself; 0 on a CPU."""
        return sum(seconds for _, seconds in self.kernels)


@dataclass(frozen=True, slots=True)
class StepTree:
    """One profiled step."""

    wall_s: float
    roots: list[Op]
    python_s: dict[str, float]
    """Per phase: host seconds in no operator."""
    events: int
    device_busy_s: float = 0.0
    """At least one kernel ran: the union of their intervals. 0 on a CPU."""
    device_sum_s: float = 0.0
    """The sum of their intervals, those of no operator included."""
    idle_s: dict[str, float] = field(default_factory=dict)
    """Seconds in which no kernel ran, by the phase that the host was in; empty on a CPU."""
    overlap_s: float = 0.0
    """What kernels ran for while another one, which has that time, ran too."""
    lost_ratio: float = 0.0
    """Share of the launches of kernels of which the profiler kept no record."""


def walk(ops: Iterable[Op]) -> Iterator[Op]:
    """All operators, parents before children, in the order in which they started."""
    for op in ops:
        yield op
        yield from walk(op.children)


def step_trees(events: Sequence[Any], *, event_cost_s: float = 0.0) -> list[StepTree]:
    """One tree per `mfubench::step` range among a profiler's events (`FunctionEvent`s)."""
    steps = [e for e in events if e.name == STEP and on_host(e)]
    elsewhere = [
        e
        for e in events
        if e.cpu_parent is None and on_host(e) and not e.name.startswith("mfubench::")
    ]
    seen = OnDevice.of(events)
    return [_tree(step, elsewhere, seen, event_cost_s) for step in steps]


def _tree(step: Any, elsewhere: Sequence[Any], seen: OnDevice, cost_s: float) -> StepTree:
    python_s: dict[str, float] = {}
    roots: list[Op] = []
    count = [0]

    def host_self_s(event: Any) -> float:
        spent_s = event.self_cpu_time_total * 1e-6 - cost_s * len(event.cpu_children)
        return float(max(0.0, spent_s))

    def convert(event: Any, phase: str, module: str | None) -> list[Op]:
        count[0] += 1
        below = sorted(event.cpu_children, key=lambda e: e.time_range.start)
        if event.name.startswith(MODULE):
            inner = event.name.removeprefix(MODULE) or module
            python_s[phase] = python_s.get(phase, 0.0) + host_self_s(event)
            return [op for child in below for op in convert(child, phase, inner)]
        if event.name.startswith("profiler::") or is_runtime(event.name):
            return [op for child in below for op in convert(child, phase, module)]
        op = Op(
            name=event.name,
            phase=phase,
            self_s=host_self_s(event),
            kernels=seen.kernels(event),
            start_us=event.time_range.start,
            module=module,
        )
        op.children = [child_op for c in below for child_op in convert(c, phase, module)]
        return [op]

    def descend(event: Any, phase: str) -> None:
        count[0] += 1
        python_s[phase] = python_s.get(phase, 0.0) + host_self_s(event)
        for child in sorted(event.cpu_children, key=lambda e: e.time_range.start):
            if child.name.startswith(PHASE):
                descend(child, child.name.removeprefix(PHASE))
            else:
                roots.extend(convert(child, phase, None))

    descend(step, "")
    # On an accelerator the backward pass runs on a thread of its own, outside the step's range in
    # the tree and inside it in time.
    for event in elsewhere:
        if within(event, step) and event.thread != step.thread:
            roots.extend(convert(event, components.BACKWARD, None))
    on_device = seen.events
    kernels = union(map(interval_ns, on_device))
    start, end = interval_ns(step)
    first, last = step.time_range.start, step.time_range.end
    lost_here = [lost for at, lost in seen.lost.items() if first <= at <= last]
    return StepTree(
        wall_s=step.time_range.elapsed_us() * 1e-6 - cost_s * count[0],
        roots=roots,
        python_s=python_s,
        events=count[0],
        device_busy_s=total(clipped(kernels, start, end)) * 1e-9,
        device_sum_s=sum(e.time_range.elapsed_us() for e in on_device if within(e, step)) * 1e-6,
        idle_s=_idle_s(step, kernels) if on_device else {},
        lost_ratio=sum(lost_here) / max(1, len(lost_here)),
        overlap_s=seen.overlap_s(step),
    )


def _idle_s(step: Any, kernels: Sequence[tuple[int, int]]) -> dict[str, float]:
    """Seconds of a step in which no kernel ran, by the phase of the step that the host was in;
    under "" what is in none."""

    def idle_ns(start: int, end: int) -> int:
        return end - start - total(clipped(kernels, start, end))

    idle: dict[str, float] = {}
    phases = [child for child in step.cpu_children if child.name.startswith(PHASE)]
    for child in phases:
        name = child.name.removeprefix(PHASE)
        idle[name] = idle.get(name, 0.0) + idle_ns(*interval_ns(child)) * 1e-9
    idle[""] = max(0.0, idle_ns(*interval_ns(step)) * 1e-9 - sum(idle.values()))
    return idle


_RUNTIME = re.compile(
    r"(?:cuda|cu|hip|ur|ze|zes|pi|sycl)[A-Z]\w*"  # the last four are Intel's
    r"|Activity Buffer.*|Lazy Function.*|Command Buffer.*|Runtime Triggered.*"
)


def is_runtime(name: str) -> bool:
    """Whether an event is a call into the GPU's runtime. Their number differs from step to step and
    from profile to profile (the first wait after NVIDIA's tracing is attached anew is not
    recorded), so that they are no part of a step's tree. They launch, or wait: no kernel is theirs.

    >>> is_runtime("cudaEventRecord"), is_runtime("cudaDeviceSynchronize"), is_runtime("aten::mm")
    (True, True, False)
    >>> is_runtime("urEnqueueKernelLaunch"), is_runtime("zeCommandListAppendLaunchKernel")
    (True, True)
    """
    return bool(_RUNTIME.fullmatch(name))


def component_times(tree: StepTree, modules: Sequence[str | None]) -> list[OpTime]:
    """Each operator's own time under the component it belongs to.

    Going down the tree, the first operator that is more than dispatch decides for all below it: the
    copies inside a multiplication are the multiplication's. `modules` gives the module component of
    each operator in `walk` order.
    """
    times: list[OpTime] = []
    remaining = iter(modules)

    def visit(op: Op, decided: str | None) -> None:
        module = next(remaining, None)
        component = decided or components.component_of(op.name, module, op.phase)
        settles = component != components.DISPATCH
        outermost = decided is None and settles
        device_s = op.device_s
        if op.kernels and not settles:
            # A replayed graph, or code that a compiler made: the kernels are what their names say.
            for kernel, seconds in op.kernels:
                named = by_kernel_name(kernel) or components.RESIDUAL
                times.append(OpTime(kernel, named, op.phase, 0.0, seconds, True))
            device_s = 0.0
        times.append(OpTime(op.name, component, op.phase, op.self_s, device_s, outermost))
        for child in op.children:
            visit(child, component if settles else None)

    for root in tree.roots:
        visit(root, None)
    return times


@dataclass(frozen=True, slots=True)
class OpTime:
    """An operator's own time in one step."""

    name: str
    component: str
    phase: str
    self_s: float
    device_s: float
    outermost: bool
    """Whether it is the operator that was called, and not one inside another of its component."""
