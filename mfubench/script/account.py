"""The account of a script's step: its parts on the clock, and what was timed in the whole run."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from mfubench.results.record import CaseRecord
    from mfubench.script.run import Found
    from mfubench.script.tally import Tally

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
    elif found.clock is not None:
        from mfubench.script.device_profile import account_of
        from mfubench.trace.read import TraceError

        try:
            step = found.clock.typical_step()
        except TraceError as error:
            record.breakdown_problem = f"no breakdown: {error}"
            return
        ceiling = record.ceiling_flops_per_s
        account = account_of(step, outside, step_s=step_s, ceiling_flops_per_s=ceiling)
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
    bars += [
        Bar(name=name, seconds=s, floor_s=None, source="timed in the whole run, amortised")
        for name, s in outside_s.items()
    ]
    rest_s = step_s - sum(bar.seconds for bar in bars)
    bars.append(
        Bar(name=UNEXPLAINED, seconds=rest_s, floor_s=None, source="the step less all of the above")
    )

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
