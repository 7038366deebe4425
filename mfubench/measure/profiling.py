"""Profile a training step beside unprofiled ones: once to learn what is where, then for times."""

from __future__ import annotations

import contextlib
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from mfubench.analysis.account import Operator
from mfubench.hardware.devices import Device
from mfubench.measure import components, events
from mfubench.measure.events import OpTime, StepTree, walk
from mfubench.measure.train_loop import TrainLoop
from mfubench.measure.train_step import TrainStep
from mfubench.timing import time_s

PROFILED_STEPS = 3
"""Steps per profiled block; reading a profile takes longer than taking it."""
PLAIN_STEPS = 7
"""Unprofiled steps before and after each profiled block; with the profiled ones no multiple of a
log interval, so that the blocks see different phases of logging."""
BLOCKS = 3
LONG_STEP_S = 0.5
"""A longer step is profiled once, between two unprofiled ones."""


class ProfileError(RuntimeError):
    """A profile that says nothing, in one sentence."""


class Profilable(Protocol):
    """A step that can be profiled. One call runs it and returns when the device has finished."""

    @property
    def model(self) -> nn.Module: ...

    @property
    def device(self) -> Device: ...

    @property
    def compiled(self) -> bool: ...

    def __call__(self) -> None: ...


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


def profile_step(step: TrainStep, *, event_cost_s: float | None = None) -> Profile:
    """Profile a step that is warm. Raises ProfileError when the profiler gives nothing."""
    return profile_phased(step, PhasedStep(step), event_cost_s=event_cost_s)


def profile_phased(
    step: Profilable, phased: Callable[[], None], *, event_cost_s: float | None = None
) -> Profile:
    """Profile a step that is warm. `phased` runs the same inside the range `events.STEP`, each of
    its phases inside `phase(name)`. Raises ProfileError when the profiler gives nothing."""
    phased()
    cost_s = event_cost(step.device) if event_cost_s is None else event_cost_s
    # A hook on a compiled model makes torch compile it again; fused kernels carry their names.
    learned = None if step.compiled else _learn_modules(step, phased)
    trees: list[StepTree] = []
    plain_s = [time_s(step)]
    is_long = plain_s[0] > LONG_STEP_S
    blocks, plain, profiled = (1, 1, 1) if is_long else (BLOCKS, PLAIN_STEPS, PROFILED_STEPS)
    for _ in range(blocks):
        plain_s += [time_s(step) for _ in range(plain)]
        trees += _profiled(phased, profiled, cost_s, step.device)
        plain_s += [time_s(step) for _ in range(plain)]
    if not trees:
        raise ProfileError("the profiler recorded no step; is another profiler active?")
    profile = _summary(trees, plain_s, learned, cost_s)
    if step.device.kind != "cpu" and not any(op.device_s for op in profile.op_times):
        raise ProfileError(f"torch's profiler gives no kernel times on {step.device.kind} here")
    return profile


def operators(profile: Profile, *, on_host: bool) -> list[Operator]:
    """A profile as the rows of an account: host times on a CPU, kernel times on an accelerator.

    Python between operators is a row of its own, under its phase where the phase is a bar. On an
    accelerator what the host does is hidden behind the kernels; what the device waits for is idle
    time, and that is the dispatch bar.
    """
    rows = [
        Operator(
            name=op.name,
            component=op.component,
            phase=op.phase,
            seconds=op.self_s if on_host else op.device_s,
            calls=profile.counts[(op.name, op.component, op.phase)],
            is_dispatch=components.by_name(op.name) == components.DISPATCH
            or op.name.startswith("Optimizer."),
        )
        for op in profile.op_times
    ]
    if on_host:
        idle = profile.python_s
    else:
        # Of the unprofiled step: the profiler's cost on the host hides behind the kernels.
        busy_s = sum(row.seconds for row in rows)
        idle = {"": max(0.0, profile.step_s - busy_s)}
    for phase, seconds in idle.items():
        component = phase if phase in BARS_OF_PHASES else components.DISPATCH
        name = "Python, in no operator" if on_host else "device idle"
        rows.append(
            Operator(
                name=name,
                component=component,
                phase=phase,
                seconds=seconds,
                calls=1,
                is_dispatch=True,
            )
        )
    return rows


BARS_OF_PHASES = (components.CLIP, components.OPTIMIZER, components.DATA, components.LOGGING)


class PhasedStep:
    """The same step with a profiler range around each of its phases."""

    def __init__(self, step: TrainStep) -> None:
        self._step = step

    def __call__(self) -> None:
        step = self._step
        loop = step if isinstance(step, TrainLoop) else None
        with record_function(events.STEP):
            if loop is not None:
                loop.set_learning_rate()
            with phase(components.FORWARD):
                loss = step.forward(step.next_batch())
            if loop is not None:
                with phase(components.DATA):
                    loop.advance()
            with phase(components.BACKWARD):
                step.backward(loss)
            with phase(components.CLIP):
                step.clip()
            with phase(components.OPTIMIZER):
                step.optimize()
            step.last_loss = loss.detach()
            if loop is not None:
                with phase(components.LOGGING):
                    loop.log()
            step.device.synchronise()


def phase(name: str) -> record_function:
    """The profiler's range of one phase of a step."""
    return record_function(events.PHASE + name)


def _activities(device: Device) -> list[ProfilerActivity]:
    activities = [ProfilerActivity.CPU]
    if device.kind == "cuda":
        activities.append(ProfilerActivity.CUDA)
    elif device.kind == "xpu":
        activities.append(ProfilerActivity.XPU)
    return activities


def _events_of(run: Callable[[], object], device: Device) -> list[Any]:
    try:
        with profile(activities=_activities(device), acc_events=False) as profiler:
            run()
        found = profiler.events()
    except RuntimeError as error:
        raise ProfileError(f"torch's profiler cannot run here: {error}") from error
    return list(found) if found is not None else []


def _profiled(run: Callable[[], None], steps: int, cost_s: float, device: Device) -> list[StepTree]:
    def several() -> None:
        for _ in range(steps + 1):
            run()

    # The first step after a profiler starts pays for its start.
    return events.step_trees(_events_of(several, device), event_cost_s=cost_s)[1:]


def event_cost(device: Device, *, repeats: int = 30) -> float:
    """Seconds that the profiler adds per event, from a small training step that is all events.

    Measured on another model than the one under test, so that what remains unexplained there is
    a finding and not arithmetic.
    """
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 8))
    model = model.to(device.torch_device)
    optimizer = torch.optim.AdamW(model.parameters())
    x = torch.randn(4, 8, device=device.torch_device)

    def small() -> None:
        model(x).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        device.synchronise()

    small()
    plain_s = [time_s(small) for _ in range(repeats)]
    profiled_s: list[float] = []

    def several() -> None:
        for _ in range(repeats):
            profiled_s.append(time_s(small))

    found = _events_of(several, device)
    plain_s += [time_s(small) for _ in range(repeats)]
    per_step = sum(1 for event in found if event.device_type.name == "CPU") / repeats
    if per_step < 1:
        raise ProfileError("the profiler recorded no events on this platform")
    extra_s = statistics.median(profiled_s[1:]) - statistics.median(plain_s)
    return max(0.0, extra_s / per_step)


def _learn_modules(step: Profilable, phased: Callable[[], None]) -> list[str | None] | None:
    """The module component of every operator of a step, in `walk` order; None if never the same.

    Hooks cost time, so this is a profile of its own; its order of operators is what the timed
    profiles are matched with. A backward operator belongs where its forward one did.
    """

    def twice() -> None:
        phased()
        phased()

    with _module_ranges(step.model):
        found = _events_of(twice, step.device)
    trees = events.step_trees(found)
    if not trees:
        return None
    forward = _modules_by_sequence(found)
    last = [e for e in found if e.name == events.STEP and events.on_host(e)][-1]
    sequences = {
        e.time_range.start: e.sequence_nr
        for e in found
        if e.sequence_nr >= 0 and e.fwd_thread and e.time_range.start >= last.time_range.start
    }
    modules: list[str | None] = []

    def visit(op: events.Op, inherited: str | None) -> None:
        module = op.module or inherited
        number = sequences.get(op.start_us)
        if module is None and number is not None:
            module = forward.get(number)
        modules.append(module)
        for child in op.children:
            visit(child, module)

    for root in trees[-1].roots:
        visit(root, None)
    return modules


def _modules_by_sequence(found: Sequence[Any]) -> dict[int, str | None]:
    """Autograd's sequence number of a forward operator to the component of its module."""
    known: dict[int, str | None] = {}
    for event in found:
        if event.sequence_nr < 0 or event.fwd_thread or not event.name.startswith("aten::"):
            continue
        parent = event.cpu_parent
        while parent is not None and not parent.name.startswith(events.MODULE):
            parent = parent.cpu_parent
        if parent is not None:
            known[event.sequence_nr] = parent.name.removeprefix(events.MODULE) or None
    return known


@contextlib.contextmanager
def _module_ranges(model: nn.Module) -> Iterator[None]:
    """A profiler range named after its component around every module that has one."""
    open_ranges: list[record_function] = []
    handles = []

    def enter(component: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            entered = record_function(events.MODULE + component)
            entered.__enter__()
            open_ranges.append(entered)

        return hook

    def leave(*_: object) -> None:
        open_ranges.pop().__exit__(None, None, None)

    for module in model.modules():
        component = components.of_module(module)
        if component is not None:
            handles.append(module.register_forward_pre_hook(enter(component)))
            handles.append(module.register_forward_hook(leave, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


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
    )
