"""Profile a training step beside unprofiled ones: once to learn what is where, then for times."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch.profiler import record_function

from mfubench.measure import events
from mfubench.measure.events import OpTime, StepTree, walk
from mfubench.measure.profiler_events import (
    Profilable,
    ProfileError,
    event_cost,
    events_of,
    learn_modules,
    tracer,
)
from mfubench.measure.train_step import TrainStep
from mfubench.timing import time_s

PROFILED_STEPS = 3
"""Steps per profiled block; reading a profile takes longer than taking it."""
PLAIN_STEPS = 7
"""Unprofiled steps before and after each profiled block; with the profiled ones no multiple of a
log interval, so that the blocks see different phases of logging."""
BLOCKS = 3
LOST_ALLOWED = 0.01
"""Steps in which more of the kernels left no record are not looked at."""
LONG_STEP_S = 0.5
"""A longer step is profiled once, between two unprofiled ones."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a profile of a step says, per step."""

    step_s: float
    """Median unprofiled step, timed between the profiled ones."""
    op_times: list[OpTime]
    """Mean over the typical steps of each operator's own time, by name, component and phase."""
    python_s: dict[str, float]
    """Per phase: host seconds in no operator."""
    counts: dict[tuple[str, str, str], float]
    """Calls per step by (name, component, phase), without those inside another call."""
    profiled_s: float
    """Median profiled step, with the profiler's cost still in it."""
    event_cost_s: float
    events_per_step: float
    by_module: bool
    """Whether operators were assigned to modules, or by their names alone."""
    device_busy_s: float = 0.0
    """At least one kernel ran. What is left of the step is idle time. 0 on a CPU."""
    device_sum_s: float = 0.0
    """The sum of all kernels, those included that link to no operator."""
    overlap_s: float = 0.0
    """What kernels ran for while another one, which has that time, ran too."""
    idle_s: dict[str, float] = field(default_factory=dict)
    """Per phase of the host: seconds of the profiled step in which no kernel ran. A profiled step
    is idle for longer than a plain one, so that these are shares, not times, of a plain step."""


class StepProfiler:
    """Profiles a step that is warm, block by block. `phased` runs the same step inside the range
    `events.STEP`, and each of its phases inside `phase(name)`."""

    def __init__(
        self, step: Profilable, phased: Callable[[], None], *, event_cost_s: float | None = None
    ) -> None:
        self._step = step
        self._phased = phased
        phased()
        self._cost_s = event_cost(step.device) if event_cost_s is None else event_cost_s
        # A hook on a compiled model makes torch compile it again; fused kernels carry their names.
        self._learned = None if step.compiled else learn_modules(step, phased)
        self._trees: list[StepTree] = []
        self._plain_s: list[float] = []

    def block(self, *, plain: int, profiled: int) -> None:
        """Profiled steps between plain ones before and after."""
        self._plain_s += [time_s(self._step) for _ in range(plain)]

        def several() -> None:
            for _ in range(profiled + 1):
                self._phased()

        found = events_of(several, self._step.device)
        # The first step after a profiler starts pays for its start.
        self._trees += events.step_trees(found, event_cost_s=self._cost_s)[1:]
        self._plain_s += [time_s(self._step) for _ in range(plain)]

    def taken(self) -> Profile:
        """The profile of the blocks since it was last taken. Raises ProfileError when the profiler
        gave nothing."""
        trees, plain_s = self._trees, self._plain_s
        self._trees, self._plain_s = [], []
        if not trees:
            raise ProfileError("the profiler recorded no step; is another profiler active?")
        whole = [tree for tree in trees if tree.lost_ratio <= LOST_ALLOWED]
        if not whole:
            lost = min(tree.lost_ratio for tree in trees)
            raise ProfileError(
                f"the profiler lost the records of at least {lost * 100:.0f} % of the kernels in "
                "every step: what they took would read as idle time"
            )
        trees = whole
        profile = _summary(trees, plain_s, self._learned, self._cost_s)
        kind = self._step.device.kind
        if kind != "cpu" and not any(op.device_s for op in profile.op_times):
            raise ProfileError(f"torch's profiler gives no kernel times on {kind} here")
        return profile


def profile_step(step: TrainStep, *, event_cost_s: float | None = None) -> Profile:
    """Profile a step that is warm. Raises ProfileError when the profiler gives nothing."""
    profiler = StepProfiler(step, phased(step), event_cost_s=event_cost_s)
    if time_s(step) > LONG_STEP_S:
        profiler.block(plain=1, profiled=1)
    else:
        for _ in range(BLOCKS):
            profiler.block(plain=PLAIN_STEPS, profiled=PROFILED_STEPS)
    return profiler.taken()


def device_busy_s(step: TrainStep) -> float:
    """Median seconds in which kernels run, over a few profiled steps and nothing else of a profile.
    Raises ProfileError where the profiler gives no kernels."""
    run = phased(step)
    for _ in range(2):
        run()

    def several() -> None:
        for _ in range(1 + PROFILED_STEPS):
            run()

    trees = events.step_trees(events_of(several, step.device))[1:]
    if not any(tree.device_busy_s for tree in trees):
        raise ProfileError(f"torch's profiler gives no kernel times on {step.device.kind} here")
    return statistics.median(tree.device_busy_s for tree in trees)


def save_trace(step: TrainStep, path: Path) -> None:
    """Write the profiler's trace of a few steps that are warm, with shapes, for `mfubench trace`;
    compressed where the name ends in `.gz`. The first step, which pays for the profiler's start,
    is not in it. Raises ProfileError when the profiler cannot run."""
    run = phased(step)
    try:
        with tracer(
            step.device, PROFILED_STEPS, lambda done: done.export_chrome_trace(str(path))
        ) as profiler:
            for _ in range(1 + PROFILED_STEPS):
                run()
                profiler.step()
    except RuntimeError as error:
        raise ProfileError(f"torch's profiler cannot run here: {error}") from error


def phased(step: TrainStep) -> Callable[[], None]:
    """The same step with a profiler range around it and around each of its phases."""

    def run() -> None:
        with record_function(events.STEP):
            step.run(phase)

    return run


def phase(name: str) -> record_function:
    """The profiler's range of one phase of a step."""
    return record_function(events.PHASE + name)


def _size(tree: StepTree) -> int:
    return sum(1 for _ in walk(tree.roots))


def typical(trees: Sequence[StepTree]) -> list[StepTree]:
    """The steps whose duration is in the middle half: an account is of a median step, and one step
    that another program disturbed would weigh on a mean."""
    ordered = sorted(trees, key=lambda tree: tree.wall_s)
    quarter = len(ordered) // 4
    return ordered[quarter : len(ordered) - quarter]


def _summary(
    trees: Sequence[StepTree],
    plain_s: Sequence[float],
    learned: list[str | None] | None,
    cost_s: float,
) -> Profile:
    profiled_s = statistics.median(tree.wall_s + cost_s * tree.events for tree in trees)
    trees = typical(trees)
    sums: dict[tuple[str, str, str], list[float]] = {}
    calls: Counter[tuple[str, str, str]] = Counter()
    python: dict[str, float] = {}
    idle: dict[str, float] = {}
    fitting = [tree for tree in trees if learned is not None and len(learned) == _size(tree)]
    by_module = bool(fitting)
    trees = fitting or trees
    for tree in trees:
        modules = learned if by_module and learned is not None else [None] * _size(tree)
        for op in events.component_times(tree, modules):
            key = (op.name, op.component, op.phase)
            total = sums.setdefault(key, [0.0, 0.0])
            total[0] += op.self_s
            total[1] += op.device_s
            calls[key] += op.outermost
        for phase, spent_s in tree.python_s.items():
            python[phase] = python.get(phase, 0.0) + spent_s
        for phase, waited_s in tree.idle_s.items():
            idle[phase] = idle.get(phase, 0.0) + waited_s
    n = len(trees)
    return Profile(
        step_s=statistics.median(plain_s),
        op_times=[
            OpTime(name, component, phase, host_s / n, device_s / n, outermost=True)
            for (name, component, phase), (host_s, device_s) in sums.items()
        ],
        python_s={phase: spent_s / n for phase, spent_s in python.items()},
        counts={key: count / n for key, count in calls.items()},
        profiled_s=profiled_s,
        event_cost_s=cost_s,
        events_per_step=sum(tree.events for tree in trees) / n,
        by_module=by_module,
        device_busy_s=sum(tree.device_busy_s for tree in trees) / n,
        device_sum_s=sum(tree.device_sum_s for tree in trees) / n,
        overlap_s=sum(tree.overlap_s for tree in trees) / n,
        idle_s={phase: waited_s / n for phase, waited_s in idle.items()},
    )
