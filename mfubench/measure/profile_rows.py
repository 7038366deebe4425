"""A profile of a step as the rows of an account."""

from __future__ import annotations

from mfubench.analysis import components
from mfubench.measure.profiling import Profile
from mfubench.results.bars import Operator

BARS_OF_PHASES = (components.CLIP, components.OPTIMIZER, components.DATA, components.LOGGING)
WAITED_FOR = (components.DATA, components.LOGGING)
"""Phases of the host that the device waits for other than by launches that come too late."""


def operators(
    profile: Profile, *, on_host: bool, device_step_s: float | None = None
) -> list[Operator]:
    """A profile as the rows of an account: host times on a CPU, kernel times on an accelerator.

    Python between operators is a row of its own, under its phase where the phase is a bar. On an
    accelerator what the host does is hidden behind the kernels. What the device waits for is idle
    time: what the kernels leave of `device_step_s`, the time of a plain step (that of the profile
    where none is given). It is the data or the logging bar where the host was there, and the
    dispatch bar elsewhere.
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
    linked_s = sum(row.seconds for row in rows)
    unlinked_s = profile.device_sum_s - profile.overlap_s - linked_s
    if not on_host and unlinked_s > 0:
        # No component: it stays in the unexplained bar, and it is not idle time.
        rows.append(_row("kernels that link to no operator", components.UNKNOWN, "", unlinked_s))
    if on_host:
        for phase, seconds in profile.python_s.items():
            component = phase if phase in BARS_OF_PHASES else components.DISPATCH
            rows.append(_row("Python, in no operator", component, phase, seconds))
        return rows
    for phase, seconds in _idle_s(profile, device_step_s or profile.step_s).items():
        component = phase if phase in WAITED_FOR else components.DISPATCH
        rows.append(_row("device idle", component, phase, seconds))
    return rows


def _row(name: str, component: str, phase: str, seconds: float) -> Operator:
    unlinked = component == components.UNKNOWN
    return Operator(
        name=name,
        component=component,
        phase=phase,
        seconds=seconds,
        calls=1,
        is_dispatch=not unlinked,
    )


def _idle_s(profile: Profile, step_s: float) -> dict[str, float]:
    """Idle time of a plain step by phase of the host, in the proportions of the profiled one.

    The kernels take as long with a profiler as without; the host takes longer, so that the device
    waits longer. On an H200 a profiled process stays 26 % slower in a launch-bound step.
    """
    idle_s = max(0.0, step_s - profile.device_busy_s)
    profiled_s = sum(profile.idle_s.values())
    if not profiled_s:
        return {"": idle_s}
    return {phase: idle_s * part_s / profiled_s for phase, part_s in profile.idle_s.items()}
