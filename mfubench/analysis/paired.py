"""Two things measured in turn: their ratio, with an interval over pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRatio:
    """The median over pairs of candidate / baseline."""

    ratio: float
    low: float
    high: float
    """95 % bootstrap interval of the median ratio."""
    pairs: int


def paired_ratio(candidate_s: Sequence[float], baseline_s: Sequence[float]) -> PairedRatio:
    """The median ratio of paired times and its 95 % percentile-bootstrap interval.

    The log-ratio of a pair is the unit: drift that both sides of a pair share cancels.
    The bootstrap is seeded, so the same rounds always give the same interval.

    >>> r = paired_ratio([2.0, 2.2, 1.8, 2.0], [1.0, 1.1, 0.9, 1.0])
    >>> round(r.ratio, 6), r.pairs
    (2.0, 4)

    Raises ValueError unless both sides have the same number of positive times, at least two.
    """
    from scipy import stats  # a second to import, which a report without pairs need not wait for

    if len(candidate_s) != len(baseline_s) or len(candidate_s) < 2:
        raise ValueError(
            f"pairs need equal numbers of times, at least 2; got {len(candidate_s)} and "
            f"{len(baseline_s)}"
        )
    candidate, baseline = np.asarray(candidate_s, float), np.asarray(baseline_s, float)
    if not (np.all(candidate > 0) and np.all(baseline > 0)):
        raise ValueError("pairs need times above zero")
    logs = np.log(candidate / baseline)
    middle = float(np.median(logs))
    if np.ptp(logs) < 1e-12:  # scipy warns about resamples without any spread
        low = high = middle
    else:
        interval = stats.bootstrap(
            (logs,),
            np.median,
            confidence_level=CONFIDENCE,
            method="percentile",
            n_resamples=2000,
            rng=np.random.default_rng(0),
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    return PairedRatio(
        ratio=float(np.exp(middle)),
        low=float(np.exp(low)),
        high=float(np.exp(high)),
        pairs=len(logs),
    )
