"""Warm until steady, and say how long that took."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from mfubench.timing import now_s

WINDOW = 4
"""Steps whose median is compared with the median of the window before."""

TOLERANCE = 0.05
"""Two windows closer than this count as settled."""

WARM_S = 1.0
"""A device with a queue is warmed for this long at the least."""

COLD_FACTOR = 1.5
"""Steps at the start that take longer than this many steady ones are start-up, not training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """What happened before timing began."""

    total_s: float
    times_s: list[float]
    """Every warm-up step, in order."""
    steady: bool

    @property
    def steady_s(self) -> float:
        """Seconds per step at the end of the warm-up: the median of its last window."""
        return statistics.median(self.times_s[-WINDOW:])

    @property
    def start_up_s(self) -> float:
        """Seconds by which the cold first steps exceed steady ones (compilation, if there was one).

        >>> round(WarmUp(total_s=0, times_s=[25.0, 1.0, 0.1, 0.1, 0.1, 0.1], steady=True)
        ...       .start_up_s, 3)
        25.8
        """
        excess_s = 0.0
        for time_s in self.times_s:
            if time_s <= COLD_FACTOR * self.steady_s:
                break
            excess_s += time_s - self.steady_s
        return excess_s


def warm_until_steady(
    step: Callable[[], None],
    *,
    budget_s: float,
    least_s: float = 0.0,
    min_steps: int = 2 * WINDOW,
    after_step: Callable[[int], None] | None = None,
) -> WarmUp:
    """Run `step` until two windows of step times agree, or the budget is spent.

    It lasts `least_s` at the least, the first step not counted: a GPU raises its clocks only under
    load, and two windows of the same low clock agree too. The first step may compile for minutes
    and does not count against `budget_s`. However short the budget, two steps run: one cold, one
    warm. `after_step(n)` is called after the n-th, untimed.
    """
    times_s: list[float] = []
    start_s = now_s()
    warm_start_s = start_s
    steady = False
    while True:
        step_start_s = now_s()
        step()
        times_s.append(now_s() - step_start_s)
        if after_step is not None:
            after_step(len(times_s))
        if len(times_s) == 1:
            warm_start_s = now_s()
            continue
        if len(times_s) >= min_steps:
            steady = _settled(times_s)
        warm_s = now_s() - warm_start_s
        if warm_s > budget_s or (steady and warm_s >= least_s):
            break
    return WarmUp(total_s=now_s() - start_s, times_s=times_s, steady=steady)


def _settled(times_s: list[float]) -> bool:
    last = statistics.median(times_s[-WINDOW:])
    before = statistics.median(times_s[-2 * WINDOW : -WINDOW])
    return abs(before - last) <= TOLERANCE * last


def rounds_for(step_s: float, budget_s: float, *, least: int = 5, most: int = 200) -> int:
    """How many rounds of `step_s` fit the budget, within [least, most].

    >>> rounds_for(0.037, 2.5), rounds_for(60.0, 2.5), rounds_for(1e-5, 2.5)
    (67, 5, 200)
    """
    return max(least, min(most, int(budget_s / max(step_s, 1e-9))))
