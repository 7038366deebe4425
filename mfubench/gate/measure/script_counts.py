"""What is counted of a script: its losses, its memory, its compiled graphs.

A script that repeats its own losses is compared step by step, at the step where the sides are
farthest apart. One that does not is compared by the mean of its losses, pair by pair, as memory is:
a process never takes exactly what it took before.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from mfubench.gate.rules.policy import GRAPHS, LOSS, MEMORY, Metric, Varied

Losses = Sequence[float | None]
LEAST_BYTES = 2 * 2**20
"""Less than this is no growth of a process: allocators take memory in blocks."""
REPEATS_SHARE = 0.25
"""Of the tolerance: a script that differs from itself by more does not repeat its losses."""


def farthest(one: Losses, other: Losses) -> tuple[float, float] | None:
    """The losses of the step at which two runs are farthest apart, relative to the first; None
    where no step has any. A loss that only the first has is missing, or not finite, in the other.

    >>> farthest([4.0, 3.0, 2.0], [4.0, 3.3])
    (3.0, 3.3)
    >>> farthest([4.0, 3.0], [4.0, None])
    (3.0, nan)
    """
    both = [
        (math.nan if a is None else a, math.nan if b is None else b)
        for a, b in zip(one, other, strict=False)
        if a is not None or b is not None
    ]
    return max(both, key=lambda pair: _distance(*pair), default=None)


def _distance(one: float, other: float) -> float:
    """Relative to the first; infinite where one is no number."""
    if one == other:
        return 0.0
    distance = abs(other / one - 1) if one else math.inf
    return distance if math.isfinite(distance) else math.inf


def repeats(runs: Sequence[Losses], tolerance: float) -> bool:
    """Whether runs of the same code have the same losses.

    >>> repeats([[4.0, 3.0], [4.0, 3.0]], 0.01), repeats([[4.0, 3.0], [4.0, 3.1]], 0.01)
    (True, False)
    """
    pairs = [farthest(runs[0], run) for run in runs[1:]]
    return all(one is None or _distance(*one) <= REPEATS_SHARE * tolerance for one in pairs)


def mean_log_ratio(base: Losses, candidate: Losses) -> float | None:
    """Of the mean losses over the steps that both have; None where there is none above 0."""
    both = [
        (a, b) for a, b in zip(base, candidate, strict=False) if a is not None and b is not None
    ]
    if not both:
        return None
    base_sum, candidate_sum = (math.fsum(column) for column in zip(*both, strict=True))
    return math.log(candidate_sum / base_sum) if min(base_sum, candidate_sum) > 0 else None


def counted(
    whole: Sequence[Mapping[str, Any]], names: tuple[str, str], loss_tolerance: float
) -> tuple[dict[Metric, tuple[float, float]], dict[Metric, Varied]]:
    """What repeats, as the figures of both sides; and what varies, pair by pair."""
    exact: dict[Metric, tuple[float, float]] = {}
    varied: dict[Metric, Varied] = {}
    if not whole:
        return exact, varied
    base, candidate = names
    runs = {name: [case["losses"][name] for case in whole] for name in names}
    if all(repeats(runs[name], loss_tolerance) for name in names):
        if (pair := farthest(runs[base][0], runs[candidate][0])) is not None:
            exact[LOSS] = pair
    else:
        logs = map(mean_log_ratio, runs[base], runs[candidate])
        why = "the script does not repeat its own losses: set a seed, or a larger loss = … "
        varied[LOSS] = Varied(logs=[one for one in logs if one is not None], why=why.strip())
    graphs = whole[0]["counts"]
    if whole[0]["compiled"]:
        exact[GRAPHS] = (graphs[base]["graphs"], graphs[candidate]["graphs"])
    bytes_ = [
        (case["counts"][base]["peak_bytes"], case["counts"][candidate]["peak_bytes"])
        for case in whole
    ]
    known = [pair for pair in bytes_ if all(pair)]
    if known:
        least = LEAST_BYTES / statistics.median(pair[0] for pair in known)
        logs_ = [math.log(b / a) for a, b in known]
        varied[MEMORY] = Varied(logs=logs_, least=least, why="processes differ in their memory")
    return exact, varied
