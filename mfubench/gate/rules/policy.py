"""The gate's verdicts: what may be called a regression, a pass, or neither.

The unit is a pair of fresh processes, one per side, which took turns; its value is the log-ratio
candidate / base. After a few planned numbers of pairs the interval of the centre is looked at, over
all pairs so far; it holds at every look (`analysis/sequential.py`) and for all timed metrics of the
gate together (Bonferroni). So the verdict and the printed interval are one thing:

- wholly above the floor: regressed; and wholly below the tolerance too: slower, within tolerance
- wholly below minus the floor: improved
- wholly below the tolerance, and not wholly above the floor: a pass
- else inconclusive

A metric that is near gets more pairs. A change of exactly the floor makes a gate red in at most 5
of 100, no change hardly ever.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from mfubench.analysis import sequential
from mfubench.gate.rules.limits import Limits

PASS: Final = "pass"
SLOWER: Final = "slower, within tolerance"
REGRESSED: Final = "regressed"
IMPROVED: Final = "improved"
INCONCLUSIVE: Final = "inconclusive"
Verdict = Literal["pass", "improved", "slower, within tolerance", "regressed", "inconclusive"]
RULE: Final = "sequential"
"""The name of this rule: figures of an earlier one say nothing about it."""
ALPHA = 0.05
"""Of either bound, over all timed metrics and looks together."""
CONTROL_LEVEL = 0.005
PAIRS = 10
LOOKS = (0.6, 1.0, 1.8, 3.0)
"""When is looked, in units of the pairs that were asked for."""
LEAST_PAIRS = 6
"""That may be asked for."""
FIRST_LOOK = 4

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
    """The interval over pairs; None for what is counted, not timed."""


class Judged(Change, frozen=True, kw_only=True):
    """One metric of one case."""

    metric: Metric
    verdict: Verdict
    pairs: Annotated[int, Meta(ge=0)]
    tolerance: float | None
    reason: str | None
    is_open: bool = False
    """Whether more pairs would be measured for it, if there were any left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Varied:
    """What is counted, and varies from process to process: judged by its pairs, as times are.

    `logs` are log-ratios, one per pair; `why` is said where they are too few to know, and no change
    below `least` is one.
    """

    logs: Sequence[float]
    why: str
    least: float = 0.0


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
    varied: Mapping[Metric, Varied] = field(default_factory=dict)
    """Memory of a process; the loss of a script that does not repeat it."""


def log_ratio(candidate: Sequence[float], base: Sequence[float]) -> float:
    """The median over turns of the log-ratio: one figure per pair of processes.

    >>> round(log_ratio([1.1, 1.2, 5.0], [1.0, 1.0, 1.0]), 4)
    0.1823
    """
    return statistics.median(math.log(c / b) for c, b in zip(candidate, base, strict=True))


def looks_of(pairs: int) -> list[int]:
    """After so many pairs is looked; the last one is the most that are measured.

    >>> looks_of(10), looks_of(2)
    ([6, 10, 18, 30], [2])
    """
    if pairs <= FIRST_LOOK:
        return [pairs]
    return sorted({max(FIRST_LOOK, round(share * pairs)) for share in LOOKS})


def judge_case(
    case: CasePairs,
    limits: Limits,
    *,
    family: int,
    looks: Sequence[int],
    most: int,
) -> list[Judged]:
    """Every metric of a case, at the last of the looks.

    `family` is the number of timed metrics in the whole gate; `looks` are the numbers of pairs
    after which was looked, this look included, and `most` the last one that is planned.
    """

    def timed(metric: Metric, tolerance: float, floor: float) -> Judged:
        values = case.step if metric == STEP else case.start_up
        return _timed(metric, values, tolerance, floor, ALPHA / family, looks, most)

    judged = [timed(STEP, limits.tolerance, limits.floor)]
    if case.start_up:
        start_up = timed(START_UP, limits.start_up, limits.start_up / 4)
        # Its times scatter by a tenth: pairs that would tell its floor cost more than it does.
        judged.append(replace(start_up, is_open=start_up.is_open and start_up.verdict != PASS))
    if moved := control_moved(case.control, limits.floor):
        is_open = looks[-1] < most
        judged = [
            replace(one, verdict=INCONCLUSIVE, reason=moved, is_open=is_open) for one in judged
        ]
    judged += [_counted(name, pair, limits) for name, pair in case.counted.items()]
    for name, one in case.varied.items():
        tolerance = max(one.least, limits.memory if name == MEMORY else limits.loss)
        found = _timed(name, one.logs, tolerance, tolerance, ALPHA / family, looks, most)
        judged.append(_in_its_words(found, one.why))
    return judged


def control_moved(control: Sequence[float], floor: float) -> str | None:
    """Why the machine favoured one side, from a kernel that is the same on both; None: it did not.

    Only a shift that is certain and matters counts: half the floor.

    >>> control_moved([0.0, 0.001, -0.001, 0.002, 0.0, -0.002, 0.001, 0.0], 0.01) is None
    True
    >>> control_moved([0.2, 0.21, 0.19, 0.2, 0.22, 0.2, 0.21, 0.2], 0.01)
    'an unchanged kernel beside it moved by +22.6 %'
    """
    if len(control) < 2:
        return None
    shift = sequential.centre(control)
    low, high = sequential.interval(control, CONTROL_LEVEL)
    if low <= 0 <= high or abs(shift) < floor / 2:
        return None
    return f"an unchanged kernel beside it moved by {math.expm1(shift) * 100:+.1f} %"


def bounds(
    logs: Sequence[float], alpha: float, looks: Sequence[int], most: int
) -> tuple[float, float]:
    """The interval of the centre at the last of the looks, either bound wrong with probability
    `alpha` at most over all looks."""
    # Pairs that a side failed are missing: a look has what is whole of its pairs.
    counts = [max(1, len(logs) - (looks[-1] - look)) for look in looks]
    reached = sorted(
        {count: look / most for count, look in zip(counts, looks, strict=True)}.items()
    )
    *_, level = sequential.levels([c for c, _ in reached], [s for _, s in reached], alpha)
    return sequential.interval(logs, level)


def _timed(
    metric: Metric,
    logs: Sequence[float],
    tolerance: float,
    floor: float,
    alpha: float,
    looks: Sequence[int],
    most: int,
) -> Judged:
    can_go_on = looks[-1] < most
    about: dict[str, Any] = {"metric": metric, "pairs": len(logs), "tolerance": tolerance}
    if len(logs) < FIRST_LOOK:
        return Judged(
            **about,
            verdict=INCONCLUSIVE,
            change=math.expm1(sequential.centre(logs)) if logs else None,
            low=None,
            high=None,
            reason=f"{len(logs)} whole pairs; {FIRST_LOOK} are needed",
            is_open=can_go_on,
        )
    low, high = bounds(logs, alpha, looks, most)
    centre = sequential.centre(logs)
    verdict, reason, is_near = _verdict(centre, low, high, math.log1p(tolerance), math.log1p(floor))
    return Judged(
        **about,
        verdict=verdict,
        change=math.expm1(centre),
        low=math.expm1(low),
        high=math.expm1(high),
        reason=reason,
        is_open=is_near and can_go_on,
    )


def _verdict(
    centre: float, low: float, high: float, tolerance: float, floor: float
) -> tuple[Verdict, str | None, bool]:
    """The verdict, its reason, and whether more pairs could change it; all in log-ratios."""
    if low > floor:
        if high < tolerance:
            return SLOWER, "certainly slower than the floor, certainly within the tolerance", False
        return REGRESSED, None, centre < tolerance
    if high < -floor:
        return IMPROVED, None, False
    if high < tolerance:
        return PASS, None, high > floor and centre > floor / 2
    if centre >= tolerance:
        return INCONCLUSIVE, "slower than the tolerance, but not certainly: try again", True
    reason = f"it may be slower by up to {math.expm1(high) * 100:.1f} %: try a machine at rest"
    return INCONCLUSIVE, reason, True


def _in_its_words(one: Judged, why: str) -> Judged:
    """Another loss is no better one; what is not known says why."""
    if one.verdict == INCONCLUSIVE:
        return replace(one, reason=why)
    is_other_loss = one.verdict == IMPROVED and one.metric == LOSS
    return replace(one, verdict=REGRESSED, reason="less than the base's") if is_other_loss else one


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
    about: dict[str, Any] = {"low": None, "high": None, "pairs": 1, "tolerance": tolerance}
    return Judged(metric=metric, verdict=verdict, change=finite, reason=reason, **about)


def worst(verdicts: Sequence[Verdict], *, slower_fails: bool = True) -> Verdict:
    """One verdict for several: what fails before what is open, that before what is better.

    >>> worst(["pass", "improved"]), worst(["pass", "inconclusive"]), worst([])
    ('improved', 'inconclusive', 'inconclusive')
    """
    order: list[Verdict] = [REGRESSED, INCONCLUSIVE, IMPROVED, PASS]
    order.insert(1 if slower_fails else 2, SLOWER)
    return next((verdict for verdict in order if verdict in verdicts), INCONCLUSIVE)


def exit_status(verdict: Verdict, *, slower_fails: bool = True) -> Literal[0, 1, 2]:
    """0 for a pass, 1 for what fails, 2 where it is not clear.

    >>> exit_status(SLOWER), exit_status(SLOWER, slower_fails=False)
    (1, 0)
    """
    if verdict == REGRESSED or (verdict == SLOWER and slower_fails):
        return 1
    return 2 if verdict == INCONCLUSIVE else 0
