"""What a run's printed times say: a plain iteration, the first one, evaluations, stalls, drift.

Nothing is dropped: an iteration is plain unless it is the run's first or includes an evaluation,
and plain iterations that took long stay in every quantile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfubench.explain.run import LoggedRun

STALL_FACTOR: Final = 3.0
"""A plain iteration above this many medians is a stall."""

_MOST_STALL_ITERS: Final = 1000
_DRIFT_BLOCKS: Final = 30
_LEAST_FOR_DRIFT: Final = 2 * _DRIFT_BLOCKS
NOTABLE_DRIFT_RATIO: Final = 0.05
"""A change over the run below this share of the median is not worth a word on most machines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How the step time moved from the run's beginning to its end."""

    change_ratio: float
    """Change over the whole run as a share of the median step; 0.1 is 10 % slower at the end."""
    low: float
    high: float
    """95 % interval of the change."""

    @property
    def notable(self) -> bool:
        """Whether the change is beyond its interval and large enough to matter."""
        return abs(self.change_ratio) >= NOTABLE_DRIFT_RATIO and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """Seconds per iteration. None is not known from this log."""

    plain_iterations: int
    median_s: float | None
    q1_s: float | None
    q3_s: float | None
    p95_s: float | None
    stalls: int
    stall_excess_s: float
    """What the stalls took beyond a median iteration each, together."""
    stall_iters: tuple[int, ...]
    """Their iterations, at most a thousand of them."""
    first_s: float | None
    """The run's first iteration, where the log has it."""
    first_includes_evaluation: bool
    first_extra_s: float | None
    """The first iteration less a plain one, and less an evaluation where it includes one."""
    evaluations: int
    evaluation_s: float | None
    """What an evaluation adds to its iteration, with the checkpoint that may follow: the median
    over iterations that include one, the run's first apart."""
    evaluation_share: float | None
    """Of the time between the first and the last printed iteration."""
    drift: Drift | None


def step_times(run: LoggedRun) -> StepTimes:
    """The account of a run's times."""
    usable = np.isfinite(run.times_s)
    later = np.ones(len(run.iters), dtype=np.bool_)
    later[0] = not run.from_the_start
    plain = usable & later & ~run.evaluated
    plain_s, plain_iters = run.times_s[plain], run.iters[plain]
    evaluated_s = run.times_s[usable & later & run.evaluated]
    first_s = float(run.times_s[0]) if run.from_the_start and usable[0] else None
    median_s = q1_s = q3_s = p95_s = evaluation_s = first_extra_s = None
    stalled = np.zeros(len(plain_s), dtype=np.bool_)
    if len(plain_s):
        q1_s, median_s, q3_s, p95_s = map(float, np.quantile(plain_s, (0.25, 0.5, 0.75, 0.95)))
        stalled = plain_s > STALL_FACTOR * median_s
        if len(evaluated_s):
            evaluation_s = max(0.0, float(np.median(evaluated_s)) - median_s)
        if first_s is not None:
            first_extra_s = first_s - median_s
            if run.evaluated[0]:
                # The evaluation of iteration 0 carries compilation too, so the later ones tell.
                known = evaluation_s is not None
                first_extra_s = first_extra_s - (evaluation_s or 0.0) if known else None
    return StepTimes(
        plain_iterations=len(plain_s),
        median_s=median_s,
        q1_s=q1_s,
        q3_s=q3_s,
        p95_s=p95_s,
        stalls=int(stalled.sum()),
        stall_excess_s=float((plain_s[stalled] - (median_s or 0.0)).sum()),
        stall_iters=tuple(map(int, plain_iters[stalled][:_MOST_STALL_ITERS])),
        first_s=first_s,
        first_includes_evaluation=first_s is not None and bool(run.evaluated[0]),
        first_extra_s=first_extra_s,
        evaluations=run.evaluations,
        evaluation_s=evaluation_s,
        evaluation_share=_share(run, median_s, evaluation_s),
        drift=_drift(plain_iters, plain_s),
    )


def _share(run: LoggedRun, median_s: float | None, evaluation_s: float | None) -> float | None:
    """Evaluations' share of all iterations' time, printed or not; the first iteration is out."""
    iterations = int(run.iters[-1] - run.iters[0])
    if median_s is None or evaluation_s is None or iterations == 0:
        return None
    evaluations = run.evaluations - bool(run.evaluated[0] and run.from_the_start)
    spent_s = evaluations * evaluation_s
    return spent_s / (spent_s + iterations * median_s)


def _drift(iters: NDArray[np.int64], times_s: NDArray[np.float64]) -> Drift | None:
    """Theil-Sen slope over the medians of 30 equal blocks, times the run's length.

    Medians of blocks, because neighbouring iterations are alike and would make any slope look
    certain; Theil-Sen (the median of all pairs' slopes), because one bad minute must not tilt it.
    """
    if len(times_s) < _LEAST_FOR_DRIFT:
        return None
    from scipy import stats

    middles = [float(np.median(block)) for block in np.array_split(iters, _DRIFT_BLOCKS)]
    medians = [float(np.median(block)) for block in np.array_split(times_s, _DRIFT_BLOCKS)]
    slope = stats.theilslopes(medians, middles, alpha=0.95)
    scale = float(iters[-1] - iters[0]) / float(np.median(times_s))
    return Drift(
        change_ratio=float(slope.slope) * scale,
        low=float(slope.low_slope) * scale,
        high=float(slope.high_slope) * scale,
    )
