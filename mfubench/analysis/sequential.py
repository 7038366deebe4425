"""A test that may be looked at several times: how much of its error each look may spend.

A rule that looks at its data five times, each time at 5 %, errs in 14 % of cases. A spending
function says beforehand how much error may have been spent when a share of the pairs is there (Lan
and DeMets, Biometrika 70, 1983, 659-663). The levels of the looks follow from it by integrating
over what has not stopped before (Armitage, McPherson and Rowe, J. R. Stat. Soc. A 132, 1969,
235-244).

A level holds for a mean of normal values with a known spread. For few pairs with an unknown one the
same level is asked of Student's t (the significance-level approach: Jennison and Turnbull, Group
Sequential Methods, 2000, section 3.8), and from `RANKED_FROM` pairs on of Wilcoxon's signed ranks,
which one pair that met a busy moment moves little. The tests simulate whether the error holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from mfubench.analysis import signed_rank

RANKED_FROM = 12
"""Pairs from which signed ranks can say what the levels of our looks ask for."""
LEAST_SPENT = 1e-6
"""Of alpha, by a look that comes right after another one."""
_NODES, _FAR = np.polynomial.legendre.leggauss(96), 8.0


def spent(share: float, alpha: float) -> float:
    """The error that may have been spent when this share of the pairs is there, Pocock's kind:
    alpha ln(1 + (e - 1) share), about the same at every look, so that clear changes end early.

    >>> [round(spent(share, 0.05), 4) for share in (0.25, 0.5, 1.0)]
    [0.0179, 0.031, 0.05]
    """
    return alpha * math.log1p((math.e - 1) * min(1.0, max(0.0, share)))


def levels(pairs: Sequence[int], shares: Sequence[float], alpha: float) -> list[float]:
    """The one-sided level of each look at so many pairs.

    `shares` says at each look how much of what was planned is over: pairs or time, and 1 at the
    last look there will be, which spends what is left (Lan and DeMets, Statistics in Medicine 8,
    1989, 1191-1198, on calendar time). When a look comes must have nothing to do with what was
    measured.

    >>> [round(level, 4) for level in levels([10, 20, 30, 40], [0.25, 0.5, 0.75, 1], 0.025)]
    [0.0089, 0.009, 0.0092, 0.0094]
    """
    return list(_levels(tuple(pairs), tuple(shares), alpha))


def errors_of_looks(pairs: Sequence[int], alpha: float = 0.025) -> list[float]:
    """The level of each of the looks after so many pairs, where the last one is the end: the bounds
    of an interval of 95 % at all looks together.

    >>> [round(error, 4) for error in errors_of_looks([4, 8])]
    [0.0155, 0.0139]
    >>> [round(error, 4) for error in errors_of_looks([4])]
    [0.025]
    """
    return levels(pairs, [count / pairs[-1] for count in pairs], alpha)


@lru_cache(maxsize=1024)
def _levels(pairs: tuple[int, ...], shares: tuple[float, ...], alpha: float) -> tuple[float, ...]:
    from scipy import optimize, special  # half a second, which a command that only reads need not

    found: list[float] = []
    # The sum of the values, in units of one value's spread, where no look has stopped so far.
    sums, weights = np.zeros(1), np.ones(1)
    before, spent_before = 0, 0.0
    for count, share in zip(pairs, shares, strict=True):
        allowed = max(LEAST_SPENT * alpha, spent(share, alpha) - spent_before)
        step = math.sqrt(count - before)

        def crosses(
            bound: float,
            sums: np.ndarray = sums,
            weights: np.ndarray = weights,
            step: float = step,
        ) -> float:
            return float(weights @ special.ndtr((sums - bound) / step))

        far = _FAR * math.sqrt(count)
        bound = float(
            optimize.brentq(lambda b, cross=crosses, a=allowed: cross(b) - a, -far, far, xtol=1e-10)
        )
        found.append(float(special.ndtr(-bound / math.sqrt(count))))
        nodes = -far + (bound + far) * (_NODES[0] + 1) / 2
        density = np.exp(-(((nodes[:, None] - sums[None, :]) / step) ** 2) / 2) @ weights
        sums = nodes
        weights = density * _NODES[1] * (bound + far) / 2 / (step * math.sqrt(2 * math.pi))
        before, spent_before = count, spent_before + allowed
    return tuple(found)


def interval(values: Sequence[float], level: float) -> tuple[float, float]:
    """Bounds of the centre of the values, each wrong with probability `level` at most; infinite
    where the values are too few for it.

    >>> low, high = interval([0.01, 0.02, 0.03, 0.02], 0.025)
    >>> round(low, 4), round(high, 4)
    (0.007, 0.033)
    """
    from scipy import special

    count = len(values)
    if count >= RANKED_FROM:
        low = signed_rank.lower_bound(values, level)
        high = signed_rank.upper_bound(values, level)
        if low is not None and high is not None:
            return low, high
    if count < 2:
        return -math.inf, math.inf
    mean = math.fsum(values) / count
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    reach = float(special.stdtrit(count - 1, 1 - level)) * spread / math.sqrt(count)
    return mean - reach, mean + reach


def centre(values: Sequence[float]) -> float:
    """The estimate that lies in the middle of `interval`: the mean of few values, Hodges' and
    Lehmann's of more."""
    if len(values) >= RANKED_FROM:
        return signed_rank.centre(values)
    return math.fsum(values) / len(values)
