"""The gate's verdicts: what may be called a regression, a pass, or neither.

The unit is a pair of fresh processes, one per side, which took turns; its value is the log-ratio
candidate / base. A first batch of pairs screens all that is judged: a lower bound above the floor,
at 20 % family-wise. What it flags needs the same again in a fresh batch, at 5 % family-wise over
what was flagged. Both batches are independent, so a gate of changes right at the floor calls a
regression in at most 1 of 100. A pass needs an upper bound below the tolerance. All else is
inconclusive.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from mfubench.analysis import signed_rank
from mfubench.gate.rules.limits import Limits

PASS: Final = "pass"
REGRESSED: Final = "regressed"
IMPROVED: Final = "improved"
INCONCLUSIVE: Final = "inconclusive"
Verdict = Literal["pass", "improved", "regressed", "inconclusive"]
SCREEN_ALPHA, CONFIRM_ALPHA = 0.20, 0.05
"""Family-wise, over all timed metrics and over those that the first batch flagged."""
MOST_CONFIRMED = 3
"""Cases in the fresh batch: when more look slower, the slowest make the gate red all the same."""
IMPROVED_ALPHA = 0.05
"""Family-wise; an improvement fails nobody and is not confirmed."""
PASS_ALPHA = 0.05
CONTROL_ALPHA = 0.01
PAIRS = 10
LEAST_PAIRS = 6

STEP: Final = "step time"
START_UP: Final = "start-up"
MEMORY: Final = "peak memory"
GRAPHS: Final = "compiled graphs"
LOSS: Final = "loss"
Metric = Literal["step time", "start-up", "peak memory", "compiled graphs", "loss"]


class Change(Struct, frozen=True, kw_only=True):
    """A relative change: 0.03 is 3 % more than the base."""

    change: float | None
    low: float | None
    high: float | None
    """95 % interval over pairs; None for what is counted, not timed."""


class Judged(Change, frozen=True, kw_only=True):
    """One metric of one case."""

    metric: Metric
    verdict: Verdict
    pairs: Annotated[int, Meta(ge=0)]
    tolerance: float | None
    reason: str | None
    needs_confirmation: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CasePairs:
    """What was measured of one case: one entry per pair of processes."""

    step: Sequence[float]
    """Log-ratio of the step times."""
    control: Sequence[float]
    """Log-ratio of a kernel that is the same on both sides, timed in the same turns."""
    start_up: Sequence[float] = ()
    counted: Mapping[Metric, tuple[float, float]] = field(default_factory=dict)
    """Base and candidate of what does not vary: peak memory, compiled graphs, loss."""


def log_ratio(candidate: Sequence[float], base: Sequence[float]) -> float:
    """The median over turns of the log-ratio: one figure per pair of processes.

    >>> round(log_ratio([1.1, 1.2, 5.0], [1.0, 1.0, 1.0]), 4)
    0.1823
    """
    return statistics.median(math.log(c / b) for c, b in zip(candidate, base, strict=True))


def judge_case(
    first: CasePairs,
    limits: Limits,
    *,
    family: int,
    confirmation: CasePairs | None = None,
    flagged: int = 1,
) -> list[Judged]:
    """Every metric of a case.

    `family` is the number of timed metrics in the whole gate, `flagged` of those that a
    confirmation was asked for.
    """

    def timed(metric: Metric, tolerance: float, floor: float) -> Judged:
        values = first.step if metric == STEP else first.start_up
        again = None
        if confirmation is not None:
            again = confirmation.step if metric == STEP else confirmation.start_up
        return _timed(metric, values, tolerance, floor, family, again, flagged)

    judged = [timed(STEP, limits.tolerance, limits.floor)]
    if first.start_up:
        judged.append(timed(START_UP, limits.start_up, limits.start_up / 4))
    for batch in filter(None, (first, confirmation)):
        if moved := control_moved(batch.control, limits.floor):
            judged = [_spoilt(one, moved) for one in judged]
    return judged + [_counted(name, pair, limits) for name, pair in first.counted.items()]


def to_confirm(judged: Sequence[Sequence[Judged]]) -> list[int]:
    """Which cases get a fresh batch: of those that the first one flags, the ones with the highest
    lower bounds. The batches are independent, so this choice favours no false alarm."""
    bounds = {
        number: max(one.low for one in metrics if one.needs_confirmation and one.low is not None)
        for number, metrics in enumerate(judged)
        if any(one.needs_confirmation for one in metrics)
    }
    return sorted(sorted(bounds, key=lambda n: bounds[n], reverse=True)[:MOST_CONFIRMED])


def left_open(one: Judged) -> Judged:
    """A flagged metric of a case that got no fresh batch: neither a pass nor a regression."""
    reason = f"slower in the first batch; the {MOST_CONFIRMED} slowest cases were confirmed"
    return _spoilt(one, reason) if one.needs_confirmation else one


def control_moved(control: Sequence[float], floor: float) -> str | None:
    """Why the machine favoured one side, from a kernel that is the same on both; None: it did not.

    Only a shift that is certain and matters counts: half the floor.

    >>> control_moved([0.0, 0.001, -0.001, 0.002, 0.0, -0.002, 0.001, 0.0], 0.01) is None
    True
    >>> control_moved([0.2, 0.21, 0.19, 0.2, 0.22, 0.2, 0.21, 0.2], 0.01)
    'an unchanged kernel beside it moved by +22.8 %'
    """
    if not control:
        return None
    shift = signed_rank.centre(control)
    low = signed_rank.lower_bound(control, CONTROL_ALPHA / 2)
    high = signed_rank.upper_bound(control, CONTROL_ALPHA / 2)
    if low is None or high is None or low <= 0 <= high or abs(shift) < floor / 2:
        return None
    return f"an unchanged kernel beside it moved by {math.expm1(shift) * 100:+.1f} %"


def _spoilt(one: Judged, reason: str) -> Judged:
    return replace(one, verdict=INCONCLUSIVE, reason=reason, needs_confirmation=False)


def _timed(
    metric: Metric,
    logs: Sequence[float],
    tolerance: float,
    floor: float,
    family: int,
    confirmation: Sequence[float] | None,
    flagged: int,
) -> Judged:
    pooled = [*logs, *(confirmation or ())]
    if len(logs) < LEAST_PAIRS:
        return Judged(
            metric=metric,
            verdict=INCONCLUSIVE,
            change=math.expm1(signed_rank.centre(pooled)) if pooled else None,
            low=None,
            high=None,
            pairs=len(pooled),
            tolerance=tolerance,
            reason=f"{len(logs)} pairs; {LEAST_PAIRS} are needed",
        )
    alarms = exceeds(logs, math.log1p(floor), SCREEN_ALPHA / family)
    confirmed = confirmation is not None and exceeds(
        confirmation, math.log1p(floor), CONFIRM_ALPHA / max(1, flagged)
    )
    low, high = signed_rank.interval(pooled)
    verdict, reason = _verdict(pooled, tolerance, floor, family)
    if alarms and confirmed:
        verdict, reason = REGRESSED, None
    elif alarms and confirmation is not None:
        reason = reason or "slower in the first batch of pairs, not in the second"
    return Judged(
        metric=metric,
        verdict=verdict,
        change=math.expm1(signed_rank.centre(pooled)),
        low=math.expm1(low),
        high=math.expm1(high),
        pairs=len(pooled),
        tolerance=tolerance,
        reason=reason,
        needs_confirmation=alarms and confirmation is None,
    )


def exceeds(logs: Sequence[float], log_floor: float, alpha: float) -> bool:
    """Whether the centre is above the floor at this error rate.

    Too few pairs for `alpha` ask for every Walsh average above it: the most that they can say.
    """
    rank = signed_rank.rank_of_bound(len(logs), alpha) or 0
    return bool(logs) and bool(signed_rank.walsh_averages(logs)[rank] > log_floor)


def _verdict(
    logs: Sequence[float], tolerance: float, floor: float, family: int
) -> tuple[Verdict, str | None]:
    high = signed_rank.upper_bound(logs, PASS_ALPHA)
    if exceeds([-value for value in logs], math.log1p(floor), IMPROVED_ALPHA / family):
        return IMPROVED, None
    if high is not None and high < math.log1p(tolerance):
        return PASS, None
    middle = math.expm1(signed_rank.centre(logs))
    if middle >= tolerance:
        return INCONCLUSIVE, "slower than the tolerance, but not certainly: more pairs would tell"
    return INCONCLUSIVE, (
        f"it may be slower by up to {math.expm1(high or math.inf) * 100:.1f} %: more pairs would "
        "tell, or a machine at rest"
    )


def _counted(metric: Metric, pair: tuple[float, float], limits: Limits) -> Judged:
    base, candidate = pair
    change = candidate / base - 1 if base else (0.0 if candidate == base else math.inf)
    finite = change if math.isfinite(change) else None
    tolerance = {MEMORY: limits.memory, LOSS: limits.loss, GRAPHS: 0.0}[metric]
    verdict: Verdict = PASS
    reason: str | None = None
    if not (math.isfinite(base) and math.isfinite(candidate)):
        verdict, reason = REGRESSED, f"{candidate} where the base has {base}"
    elif metric == MEMORY:
        if change > tolerance:
            verdict = REGRESSED
        elif change < -tolerance:
            verdict = IMPROVED
    elif metric == LOSS and abs(change) > tolerance:
        verdict, reason = REGRESSED, f"{candidate:.4f} where the base has {base:.4f}"
    elif metric == GRAPHS and candidate != base:
        verdict = REGRESSED
        reason = f"{candidate:.0f} where the base has {base:.0f}: "
        reason += "recompilation" if candidate > base else "less is compiled than before"
    return Judged(
        metric=metric,
        verdict=verdict,
        change=finite,
        low=None,
        high=None,
        pairs=1,
        tolerance=tolerance,
        reason=reason,
    )


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict for several: a regression before what is open, that before what is better.

    >>> worst(["pass", "improved"]), worst(["pass", "inconclusive"]), worst([])
    ('improved', 'inconclusive', 'inconclusive')
    """
    order: tuple[Verdict, ...] = (REGRESSED, INCONCLUSIVE, IMPROVED, PASS)
    return next((verdict for verdict in order if verdict in verdicts), INCONCLUSIVE)


EXIT_STATUS: Mapping[Verdict, int] = {PASS: 0, IMPROVED: 0, REGRESSED: 1, INCONCLUSIVE: 2}
