"""When a side is faster, slower, no different, or when that is unclear.

The unit is a pair of fresh processes that took turns; its value is the log-ratio of the step times,
side over reference. After a few planned numbers of pairs the interval of the centre is looked at;
its level holds over all looks (`analysis/sequential.py`) and all sides (Bonferroni). A side is

- no different, when the interval lies within the precision on both sides of 0;
- faster or slower, when the interval leaves 0 out and the estimate is beyond the precision;
- unclear, else.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from mfubench.analysis import sequential
from mfubench.compare.document import FASTER, NO_DIFFERENCE, SLOWER, UNCLEAR, Verdict

LOOKS = (4, 6, 9, 14, 20, 30, 45, 60)
"""Numbers of pairs after which is looked, each about half as many more as before."""
ALPHA = 0.01
"""That a side without any difference is called faster or slower, over all sides and looks."""
CONTROL_LEVEL = 0.005
ENDLESS = math.log(10)
"""A bound that is farther away than this factor says nothing."""
WIDE_SHARE = 0.25
"""An interval is narrow enough when it reaches no farther than the precision, or than this share
of the difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A side against the reference: log-ratios of step times, so above 0 is slower."""

    verdict: Verdict
    centre: float
    low: float
    high: float
    is_final: bool
    """Whether more pairs would not be asked for."""

    @property
    def ratio(self) -> float:
        """Speed over the reference's."""
        return math.exp(-self.centre)

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """Of the ratio; None where a bound is so far away that it says nothing."""
        low = math.exp(-self.high) if self.high < ENDLESS else None
        return low, (math.exp(-self.low) if self.low > -ENDLESS else None)


def log_ratio(side_s: Sequence[float], reference_s: Sequence[float]) -> float:
    """One figure per pair of processes: the median over turns, the mean of the two orders.

    A side that had the turn before finds its data in the cache, and in A B B A that is every other
    turn of each. So each order has a median of its own.

    >>> round(log_ratio([1.1, 1.2, 1.1, 1.2], [1.0, 1.0, 1.0, 1.0]), 4)
    0.1388
    """
    logs = [math.log(s / r) for s, r in zip(side_s, reference_s, strict=True)]
    halves = [half for half in (logs[::2], logs[1::2]) if half]
    return statistics.fmean(statistics.median(half) for half in halves)


def level(sides: int) -> float:
    """The one-sided error of one side, of so many that are compared with the reference."""
    return ALPHA / (2 * max(1, sides))


def judge(
    logs: Sequence[float],
    precision: float,
    *,
    looks: Sequence[tuple[int, float]],
    sides: int = 1,
) -> Judged:
    """What the pairs say at the last of the looks.

    `looks` has the number of pairs of each look, this one included, and the share of the time that
    was over then: 1 where there will be no more.

    >>> quiet = [0.001, -0.001, 0.002, -0.002]
    >>> judge(quiet, 0.01, looks=[(4, 0.2)]).verdict
    'no difference'
    >>> judge([x + 0.05 for x in quiet], 0.01, looks=[(4, 0.2)]).verdict
    'slower'
    """
    if not logs:
        return Judged(verdict=UNCLEAR, centre=0.0, low=-math.inf, high=math.inf, is_final=False)
    pairs, shares = zip(*looks, strict=True)
    *_, allowed = sequential.levels(pairs, shares, level(sides))
    low, high = sequential.interval(logs, allowed)
    centre = sequential.centre(logs)
    near = math.log1p(precision)
    reach = max(near, WIDE_SHARE * abs(centre))
    if -near < low and high < near:
        return Judged(verdict=NO_DIFFERENCE, centre=centre, low=low, high=high, is_final=True)
    if not low <= 0 <= high and abs(centre) >= near:
        verdict: Verdict = SLOWER if low > 0 else FASTER
        is_narrow = high - centre <= reach and centre - low <= reach
        return Judged(verdict=verdict, centre=centre, low=low, high=high, is_final=is_narrow)
    return Judged(verdict=UNCLEAR, centre=centre, low=low, high=high, is_final=False)


def why_unclear(one: Judged, precision: float, pairs: int) -> str:
    """What is known, and what would tell more."""
    if max(abs(one.low), abs(one.high)) > ENDLESS:
        few = "1 pair is" if pairs == 1 else f"{pairs} pairs are"
        return f"{few} too few to say anything; give more time with --budget"
    low, high = (math.expm1(x) * 100 for x in (one.low, one.high))
    if low > 0 or high < 0:
        least, most = sorted((abs(low), abs(high)))
        return (
            f"it takes {least:.1f} to {most:.1f} % {'more' if low > 0 else 'less'} time; whether "
            f"that is more than {precision * 100:g} % is not certain"
        )
    return (
        f"its steps may take {low:+.1f} to {high:+.1f} % time: more pairs would tell (--budget), "
        "or a machine at rest"
    )


def control_moved(logs: Sequence[float], precision: float, judged: Judged) -> str | None:
    """Why the machine favoured one side, from a kernel in the parent that is the same for all; None
    where it did not, or not by half the precision, or by too little to explain the difference: one
    that is left when as much as the kernel changed at most is taken out of its interval.

    >>> same = judge([0.001, -0.001, 0.002, -0.002], 0.01, looks=[(4, 0.2)])
    >>> control_moved([0.0, 0.001, -0.001, 0.002], 0.01, same) is None
    True
    >>> control_moved([0.2, 0.21, 0.19, 0.2], 0.01, same)
    'an unchanged kernel after its turns took +22.1 % time: the machine favoured one side'
    >>> twice = judge([0.7, 0.69, 0.7, 0.71], 0.01, looks=[(4, 0.2)])
    >>> control_moved([0.2, 0.21, 0.19, 0.2], 0.01, twice) is None
    True
    """
    if len(logs) < 2:
        return None
    low, high = sequential.interval(logs, CONTROL_LEVEL)
    centre = sequential.centre(logs)
    if low <= 0 <= high or abs(centre) < precision / 2:
        return None
    if judged.verdict == SLOWER and judged.low > max(high, 0):
        return None
    if judged.verdict == FASTER and judged.high < min(low, 0):
        return None
    change = f"{math.expm1(centre) * 100:+.1f} %"
    return f"an unchanged kernel after its turns took {change} time: the machine favoured one side"
