"""The account of a script's step: its parts on the clock, or on a GPU the kernels of its trace, and
what was timed in the whole run."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from mfubench.analysis import components
from mfubench.analysis.account import Account, closed
from mfubench.results.bars import (
    COMPUTE,
    DISPATCH_BOUND,
    INPUT,
    MEMORY,
    OUTSIDE,
    SYNC,
    UNEXPLAINED,
    Bar,
)
from mfubench.results.outcomes import known
from mfubench.script import phases
from mfubench.script.own_profiler import WHY
from mfubench.trace import bars as trace_bars
from mfubench.trace import idle
from mfubench.trace.read import TraceError
from mfubench.trace.text import bar_label

if TYPE_CHECKING:
    from mfubench.results.record import CaseRecord
    from mfubench.script.found import Found
    from mfubench.script.tally import Tally
    from mfubench.trace.document import Step

ORDER = (
    phases.DATA,
    phases.FORWARD,
    phases.BACKWARD,
    phases.CLIP,
    phases.OPTIMIZER,
    phases.COMMUNICATION,
    phases.LOGGING,
    phases.PYTHON,
)
ATTENTION = "attention kernels"
"""In the suite's own account the bar `attention` is what lies above its FLOPs at the ceiling."""
AVOIDABLE = (phases.DATA, phases.CLIP, phases.LOGGING, phases.PYTHON)


def fill_breakdown(record: CaseRecord, found: Found, tally: Tally | None) -> None:
    """Add the account of a step to its record, or say why there is none."""
    if record.step_s is None:
        return
    pauses_s = {"evaluation": record.evaluation_total_s, "checkpoint": record.checkpoint_total_s}
    seen = known(record.steps_seen)
    outside = {name: seconds / seen for name, seconds in pauses_s.items() if seconds}
    step_s = record.step_s + sum(outside.values())
    account = None
    if isinstance(found.clock, phases.PhaseClock):
        account = _account_of_phases(record, found.clock, found.beside_clock_s, outside, tally)
        record.communication_hidden_s = found.clock.communication_hidden_s
    elif found.clock is not None:
        try:
            step = found.clock.typical_step()
        except TraceError as error:
            record.breakdown_problem = f"no breakdown: {error}"
            return
        ceiling = record.ceiling_flops_per_s
        account = account_of(step, outside, step_s=step_s, ceiling_flops_per_s=ceiling)
    if account is None and "the breakdown" in found.left_out:
        record.breakdown_problem = f"no breakdown: {WHY}"
        return
    if account is None:
        record.breakdown_problem = (
            "no breakdown: the script ended before the steps that it is taken from; it needs about "
            f"{10 + 2 * phases.PROFILED_STEPS} steps"
        )
        return
    account.fill(record)
    record.breakdown_operators = []
    record.profile_by_module = True


def _account_of_phases(
    record: CaseRecord,
    clock: phases.PhaseClock,
    beside_s: list[float],
    outside: dict[str, float],
    tally: Tally | None,
) -> Account | None:
    parts_s = clock.typical_s()
    if not parts_s or not beside_s:
        return None
    # The machine may have been faster or slower then: the plain steps between them tell.
    scale = known(record.step_s) / statistics.median(beside_s)
    return close_account(
        {name: seconds * scale for name, seconds in parts_s.items()},
        outside,
        step_s=known(record.step_s) + sum(outside.values()),
        flops={
            phases.FORWARD: tally.flops("model", "forward") if tally else 0,
            phases.BACKWARD: tally.flops("model", "backward") if tally else 0,
        },
        ceiling_flops_per_s=record.ceiling_flops_per_s,
    )


def close_account(
    parts_s: dict[str, float],
    outside_s: dict[str, float],
    *,
    step_s: float,
    flops: dict[str, int],
    ceiling_flops_per_s: float | None,
) -> Account:
    """Bars that add up to `step_s`: the parts of a step and its share of the pauses, in seconds.

    Forward and backward could take what their FLOPs take at the measured ceiling; what is not
    arithmetic could take nothing. They count as compute, optimizer and clipping as memory: what
    binds inside them is for the breakdown of a preset to say, which times operators.

    >>> account = close_account({"forward": 0.03, "data": 0.01}, {}, step_s=0.05,
    ...                         flops={"forward": 10**9}, ceiling_flops_per_s=1e11)
    >>> account.binds, round(account.unexplained_ratio, 3), account.bar("forward").floor_s
    ('compute-bound', 0.2, 0.01)
    """
    bars = []
    for name in ORDER:
        if name not in parts_s:
            continue
        count = flops.get(name)
        floor_s: float | None = 0.0 if name in AVOIDABLE else None
        if count and ceiling_flops_per_s:
            floor_s = count / ceiling_flops_per_s
        bars.append(
            Bar(
                name=name,
                seconds=parts_s[name],
                floor_s=floor_s,
                flops=count or None,
                source="the clock of the profiled steps",
                whole_s=parts_s[name],
            )
        )
    bars = _completed(bars, outside_s, step_s)

    def together(*names: str) -> float:
        return sum(parts_s.get(name, 0.0) for name in names)

    groups: dict[str, Any] = {
        COMPUTE: together(phases.FORWARD, phases.BACKWARD),
        MEMORY: together(phases.OPTIMIZER, phases.CLIP),
        DISPATCH_BOUND: together(phases.PYTHON),
        INPUT: together(phases.DATA),
        SYNC: together(phases.LOGGING, phases.COMMUNICATION),
        OUTSIDE: sum(outside_s.values()),
    }
    return closed(step_s, bars, groups)


def _completed(bars: list[Bar], outside_s: dict[str, float], step_s: float) -> list[Bar]:
    """The bars of a step with its share of the pauses, and with what none of them holds."""
    pauses = [
        Bar(name=name, seconds=s, floor_s=None, source="timed in the whole run, amortised")
        for name, s in outside_s.items()
    ]
    rest_s = step_s - sum(bar.seconds for bar in (*bars, *pauses))
    source = "the step less all of the above"
    rest = Bar(name=UNEXPLAINED, seconds=rest_s, floor_s=None, source=source)
    return [*bars, *pauses, rest]


def account_of(
    step: Step,
    outside_s: dict[str, float],
    *,
    step_s: float,
    ceiling_flops_per_s: float | None,
) -> Account:
    """Bars that add up to `step_s`, a plain step and its share of the pauses `outside_s`.

    Kernels are taken as they were profiled: a profiler slows the host, not the device. What they
    leave of the plain step is idle, for the reasons and in the proportions of the profiled one.

    A profiled step of 12 ms with 6 ms of kernels, whose plain step takes 10 ms:

    >>> from mfubench.trace.document import Bar as TraceBar, Step
    >>> step = Step(name="5", rank=None, step_s=0.012, device_busy_s=0.006, device_sum_s=0.006,
    ...             device_idle_s=0.006, unlinked_s=0.0, communication_s=0.0,
    ...             communication_exposed_s=0.0, operators=9, launches=9, graph_launches=0,
    ...             account=[TraceBar(name="gemm", seconds=0.006),
    ...                      TraceBar(name="idle: host had not launched", seconds=0.006)])
    >>> account = account_of(step, {}, step_s=0.010, ceiling_flops_per_s=None)
    >>> {bar.name: round(bar.seconds, 6) for bar in account.bars}
    {'GEMMs and convolutions': 0.006, 'idle: host had not launched': 0.004, 'unexplained': 0.0}
    """
    plain_s = step_s - sum(outside_s.values())
    profiled_idle_s = sum(bar.seconds for bar in step.account if bar.name in idle.REASONS)
    busy_s = sum(bar.seconds for bar in step.account) - profiled_idle_s
    scale = max(0.0, plain_s - busy_s) / profiled_idle_s if profiled_idle_s else 0.0
    seconds = {
        bar.name: bar.seconds * (scale if bar.name in idle.REASONS else 1.0) for bar in step.account
    }
    floors_s = _floors_s(step, ceiling_flops_per_s)
    bars = []
    for name, taken_s in seconds.items():
        is_idle = name in idle.REASONS
        bars.append(
            Bar(
                name=ATTENTION if name == components.ATTENTION else bar_label(name),
                seconds=taken_s,
                floor_s=0.0 if is_idle else floors_s.get(name),
                source="what the kernels leave of a plain step" if is_idle else "the profiled step",
            )
        )
    bars = _completed(bars, outside_s, step_s)

    def together(*names: str) -> float:
        return sum(seconds.get(name, 0.0) for name in names)

    compute_s = together(components.GEMM, components.ATTENTION)
    waited_s = together(idle.SYNC, idle.RANKS, trace_bars.COMMUNICATION, trace_bars.HOST_COPIES)
    unknown_s = together(trace_bars.UNLINKED, idle.LOST, idle.UNKNOWN)
    launch_s = together(idle.HOST, idle.LAUNCHED, idle.GRAPH)
    input_s = together(idle.DATA)
    known_s = compute_s + waited_s + unknown_s + launch_s + input_s
    groups = {
        COMPUTE: compute_s,
        MEMORY: sum(seconds.values()) - known_s,
        DISPATCH_BOUND: launch_s,
        INPUT: input_s,
        SYNC: waited_s,
        OUTSIDE: sum(outside_s.values()),
    }
    return closed(step_s, bars, groups)


def _floors_s(step: Step, ceiling_flops_per_s: float | None) -> dict[str, float]:
    """What the FLOPs of the products and of attention take at the measured ceiling, where the sizes
    of all of them were recorded."""
    counted = sum(gemm.flops for gemm in step.gemms)  # a step lists its longest products only
    whole = step.flops or 0.0
    if not ceiling_flops_per_s or step.counted_s < 0.999 * step.countable_s:
        return {}
    if counted < 0.999 * whole:
        return {}
    attention = sum(gemm.flops for gemm in step.gemms if "attention" in gemm.operator)
    return {
        components.GEMM: (whole - attention) / ceiling_flops_per_s,
        components.ATTENTION: attention / ceiling_flops_per_s,
    }
