"""What torch's profiler records of a step: its events, what they cost, and the module of each."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from mfubench.analysis import components
from mfubench.hardware.devices import Device
from mfubench.measure import events
from mfubench.measure.device_events import on_host
from mfubench.timing import time_s


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


def activities(device: Device) -> list[ProfilerActivity]:
    """What the profiler records: the host always, and the device where torch can.

    NVIDIA's tracing stays attached to a process after its first profile unless Kineto is told to
    take it down: steps stayed 20 to 30 % slower on an H200 (docs/findings.md). torch itself sets
    this to 0 where its compiler uses CUDA graphs.
    """
    os.environ.setdefault("TEARDOWN_CUPTI", "1")
    found = [ProfilerActivity.CPU]
    if device.kind == "cuda":
        found.append(ProfilerActivity.CUDA)
    elif device.kind == "xpu":
        found.append(ProfilerActivity.XPU)
    return found


def tracer(device: Device, steps: int, write: Callable[[profile], None]) -> profile:
    """A profiler of `steps` steps, with shapes, that hands itself to `write` when they are over.
    One step more runs before them: the first one after its start pays for it."""
    return profile(
        activities=activities(device),
        schedule=schedule(wait=0, warmup=1, active=steps, repeat=1),
        on_trace_ready=write,
        record_shapes=True,
    )


def events_of(run: Callable[[], object], device: Device) -> list[Any]:
    """The profiler's events of a run. Raises ProfileError where it cannot run."""
    try:
        with profile(activities=activities(device), acc_events=False) as profiler:
            run()
        found = profiler.events()
    except RuntimeError as error:
        raise ProfileError(f"torch's profiler cannot run here: {error}") from error
    return list(found) if found is not None else []


def event_cost(device: Device, *, rounds: int = 5, repeats: int = 6) -> float:
    """Seconds that the profiler adds per event, from a small training step that is all events.

    Measured on another model than the one under test, so that what remains unexplained there is
    a finding and not arithmetic. Plain and profiled steps take turns, and of each turn the fastest
    counts: medians of one long turn each gave 0 to 1.6 us where these give 0.33 to 0.50.
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

    def several() -> None:
        for _ in range(repeats + 1):
            profiled_s.append(time_s(small))

    small()
    extra_s: list[float] = []
    for _ in range(rounds):
        plain_s = [time_s(small) for _ in range(repeats)]
        profiled_s: list[float] = []
        found = events_of(several, device)
        per_step = sum(1 for event in found if event.device_type.name == "CPU") / (repeats + 1)
        if per_step < 1:
            raise ProfileError("the profiler recorded no events on this platform")
        # The first step after a profiler starts pays for its start.
        extra_s.append((min(profiled_s[1:]) - min(plain_s)) / per_step)
    return max(0.0, statistics.median(extra_s))


def learn_modules(step: Profilable, phased: Callable[[], None]) -> list[str | None] | None:
    """The module component of every operator of a step, in `walk` order; None if never the same.

    Hooks cost time, so this is a profile of its own; its order of operators is what the timed
    profiles are matched with. A backward operator belongs where its forward one did.
    """

    def twice() -> None:
        phased()
        phased()

    with module_ranges(step.model):
        found = events_of(twice, step.device)
    trees = events.step_trees(found)
    if not trees:
        return None
    forward = _modules_by_sequence(found)
    last = [e for e in found if e.name == events.STEP and on_host(e)][-1]
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
def module_ranges(model: nn.Module) -> Iterator[None]:
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
