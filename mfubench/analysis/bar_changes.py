"""Which bars of an iteration a change took its time from, or gave it to."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from mfubench.results.bars import UNEXPLAINED, BarChange

BAR_SHARE = 0.3
"""The bar that grew most is named if it holds at least this share of all growth."""
WORTH_NAMING_SHARE = 0.2


def typical_bars(blocks: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Bars in seconds from several short profiles of one loop: the median of each bar's share, of
    the median iteration. What the medians leave or exceed is unexplained.

    >>> typical_bars([{"gemm": 2.0, "data": 2}, {"gemm": 6.0, "data": 2}, {"gemm": 3.0, "data": 1}])
    {'gemm': 3.0, 'data': 1.0, 'unexplained': 0.0}

    Raises ValueError for a profile without time.
    """
    wholes_s = [sum(block.values()) for block in blocks]
    if not blocks or min(wholes_s) <= 0:
        raise ValueError(f"a profile holds no time: {wholes_s}")
    iteration_s = statistics.median(wholes_s)
    names = {name: None for block in blocks for name in block if name != UNEXPLAINED}
    bars = {
        name: iteration_s
        * statistics.median(
            block.get(name, 0.0) / whole_s for block, whole_s in zip(blocks, wholes_s, strict=True)
        )
        for name in names
    }
    return {**bars, UNEXPLAINED: iteration_s - sum(bars.values())}


def bars_before_and_after(
    before: Mapping[str, float], after: Mapping[str, float], *, before_s: float, after_s: float
) -> list[BarChange]:
    """Each bar before and after, the largest change first.

    Profiles are few, and the machine may have changed its speed between them. So a profile gives
    each bar's *share* of its own iteration, and the iterations' seconds `before_s` and `after_s`
    come from turns: the changes add up to what the turns saved.

    >>> changes = bars_before_and_after(
    ...     {"optimizer": 2.0, "gemm": 8.0},
    ...     {"optimizer": 1.1, "gemm": 8.8},  # taken while the machine was 10 % slower
    ...     before_s=0.010,
    ...     after_s=0.009,
    ... )
    >>> [(c.name, round(c.saved_s, 9)) for c in changes]
    [('optimizer', 0.001), ('gemm', 0.0)]
    """
    whole_before, whole_after = sum(before.values()), sum(after.values())
    changes = [
        BarChange(
            name,
            before_s * before.get(name, 0.0) / whole_before,
            after_s * after.get(name, 0.0) / whole_after,
        )
        for name in {**before, **after}
    ]
    return sorted(changes, key=lambda change: -abs(change.saved_s))


def worth_naming(changes: Sequence[BarChange]) -> list[BarChange]:
    """The bars that hold a change, either way: each moved by a fifth at least of
    all that the shrinking ones lost. What is unexplained is no bar.

    >>> changes = [
    ...     BarChange("gemm", 0.028, 0.014),
    ...     BarChange("copies", 0.001, 0.009),
    ...     BarChange("data", 0.0003, 0.0002),
    ... ]
    >>> [(change.name, round(change.saved_s, 6)) for change in worth_naming(changes)]
    [('gemm', 0.014), ('copies', -0.008)]
    """
    moved = [change for change in changes if change.name != UNEXPLAINED]
    least_s = WORTH_NAMING_SHARE * sum(max(0.0, change.saved_s) for change in moved)
    return [change for change in moved if 0 < least_s <= abs(change.saved_s)]


def largest_growth(
    base: Mapping[str, float], candidate: Mapping[str, float]
) -> dict[str, Any] | None:
    """The bar that grew most, with its growth; None where nothing grew or no bar stands out.

    >>> largest_growth({"attention": 0.010, "gemm": 0.020}, {"attention": 0.013, "gemm": 0.0201})
    {'name': 'attention', 'grew_s': 0.003, 'share': 0.97}
    """
    names = {*base, *candidate} - {UNEXPLAINED}
    growth = {n: candidate.get(n, 0.0) - base.get(n, 0.0) for n in names}
    grown_s = sum(value for value in growth.values() if value > 0)
    if grown_s <= 0:
        return None
    name = max(growth, key=lambda n: growth[n])
    share = growth[name] / grown_s
    if share < BAR_SHARE:
        return None
    return {"name": name, "grew_s": round(growth[name], 6), "share": round(share, 2)}
