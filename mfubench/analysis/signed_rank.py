"""Exact bounds of a centre from few, possibly outlying, values: Wilcoxon's signed ranks.

The bounds are order statistics of the Walsh averages (the means of all pairs of values, each with
itself too); the estimate is their median (Hodges and Lehmann, 1963). They hold for any
distribution that is symmetric about its centre, whatever its tails: one pair of processes that hit
a busy moment moves them little, where it would widen Student's interval many times.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np


def walsh_averages(values: Sequence[float]) -> np.ndarray:
    """The sorted means of all pairs, n (n + 1) / 2 of them.

    >>> walsh_averages([1.0, 2.0, 4.0]).tolist()
    [1.0, 1.5, 2.0, 2.5, 3.0, 4.0]
    """
    array = np.asarray(values, float)
    first, second = np.triu_indices(len(array))
    averages: np.ndarray = np.sort((array[first] + array[second]) / 2)
    return averages


def centre(values: Sequence[float]) -> float:
    """The Hodges-Lehmann estimate: the median of the Walsh averages.

    >>> centre([0.01, 0.02, 0.03, 0.02, 5.0])
    0.025
    """
    return float(np.median(walsh_averages(values)))


@lru_cache(maxsize=256)
def tail(n: int) -> tuple[float, ...]:
    """P(W <= w) for w = 0, 1, … of the signed-rank statistic of n values, without ties.

    >>> tail(3)[:3]
    (0.125, 0.25, 0.375)
    """
    counts = np.zeros(n * (n + 1) // 2 + 1)
    counts[0] = 1
    for rank in range(1, n + 1):
        counts[rank:] += counts[:-rank].copy()
    return tuple(float(share) for share in np.cumsum(counts) / 2.0**n)


def rank_of_bound(n: int, alpha: float) -> int | None:
    """Which Walsh average, from below and counted from 0, is a lower bound that the centre
    undercuts with probability `alpha` at most; None where n values cannot say so.

    >>> rank_of_bound(10, 0.025), rank_of_bound(10, 0.001), rank_of_bound(10, 0.0005)
    (8, 0, None)
    """
    tails = tail(n)
    if tails[0] > alpha:
        return None
    return int(np.searchsorted(tails, alpha, side="right")) - 1


def lower_bound(values: Sequence[float], alpha: float) -> float | None:
    """A one-sided lower bound of the centre at confidence 1 - `alpha`; None: too few values.

    >>> lower_bound([1.0, 2.0, 3.0, 4.0, 5.0], 0.05)
    1.0
    >>> lower_bound([1.0, 2.0], 0.05) is None
    True
    """
    rank = rank_of_bound(len(values), alpha)
    return None if rank is None else float(walsh_averages(values)[rank])


def upper_bound(values: Sequence[float], alpha: float) -> float | None:
    """A one-sided upper bound of the centre at confidence 1 - `alpha`; None: too few values.

    >>> upper_bound([1.0, 2.0, 3.0, 4.0, 5.0], 0.05)
    5.0
    """
    rank = rank_of_bound(len(values), alpha)
    return None if rank is None else float(walsh_averages(values)[-1 - rank])


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """A two-sided interval of the centre with at least this confidence; infinite when the values
    are too few for it.

    >>> interval([1.0, 2.0, 3.0])
    (-inf, inf)
    """
    alpha = (1 - confidence) / 2
    low, high = lower_bound(values, alpha), upper_bound(values, alpha)
    return (-np.inf, np.inf) if low is None or high is None else (low, high)
