"""A case over many runs: levels, change points, and changes of the environment.

Change points are found by `ruptures` (kernel change point detection with an exact search and a
penalty) in the logarithm of the medians. It finds where a level changed; it is no verdict about the
commit there, because runs of different days differ by more than the code: that is the gate's.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mfubench.results.collection import Point

LEAST_RUNS = 8
"""Fewer runs have no history to speak of."""
SEARCHED_RUNS = 1000
"""Change points are looked for in the newest runs: the search takes the square of their number."""
LEAST_LEVEL_RUNS = 4
PENALTY = 6.0
"""Times log(runs) and the variance between neighbours. See docs/report.md for what that catches."""
WORTH_RATIO = 0.02
"""A level that moved by less is not marked."""
CLIP_SIGMAS = 4.0
LEAST_SIGMA = 0.001
"""No machine repeats itself to better than 0.1 %: less noise than that is copied files."""
DRAWN = 140
"""More runs than this are drawn in groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """One run, or neighbouring runs where there are too many to draw."""

    index: float
    median_s: float
    low_s: float
    high_s: float
    tip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    first: int
    last: int
    median_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentChange:
    """Before run `index`, something else than the commit changed."""

    index: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePoint:
    """The level of the medians changed before run `index`."""

    index: int
    ratio: float
    """Time after over time before."""
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What is drawn and said of one case."""

    case_id: str
    machine: str
    runs: int
    buckets: list[Bucket]
    levels: list[Level]
    change_points: list[ChangePoint]
    environment: list[EnvironmentChange]
    first_day: str
    last_day: str
    last_s: float
    title: str
    description: str


def history_of(machine: str, case_id: str, points: Sequence[Point]) -> History:
    """The history of one case; without change points below `LEAST_RUNS` runs."""
    medians = [point.median_s for point in points]
    environment = environment_changes(points)
    cuts = change_indices(medians)
    bounds = [0, *cuts, len(medians)]
    levels = [
        Level(first=a, last=b - 1, median_s=statistics.median(medians[a:b]))
        for a, b in pairwise(bounds)
    ]
    changes = [
        _change_point(points, cut, levels[i], levels[i + 1], environment)
        for i, cut in enumerate(cuts)
    ]
    said = "; ".join(change.sentence for change in changes) or "no change of level found"
    return History(
        case_id=case_id,
        machine=machine,
        runs=len(points),
        buckets=_buckets(points),
        levels=levels,
        change_points=changes,
        environment=environment,
        first_day=points[0].run.datetime[:10],
        last_day=points[-1].run.datetime[:10],
        last_s=medians[-1],
        title=f"{case_id} over {len(points)} runs",
        description=f"Median time per run on {machine}: {said}.",
    )


def environment_changes(points: Sequence[Point]) -> list[EnvironmentChange]:
    """Where software or settings differ from the run before."""
    changes = []
    for index in range(1, len(points)):
        before, after = points[index - 1].run.environment, points[index].run.environment
        if before is after or before == after:
            continue
        names = [n for n in dict.fromkeys([*before, *after]) if before.get(n) != after.get(n)]
        what = ", ".join(f"{n} {before.get(n, '–')} → {after.get(n, '–')}" for n in names)
        changes.append(EnvironmentChange(index=index, what=what))
    return changes


def change_indices(medians: Sequence[float]) -> list[int]:
    """Indices of the first run of each new level, among the newest `SEARCHED_RUNS`."""
    skipped = max(0, len(medians) - SEARCHED_RUNS)
    logs = [math.log(m) for m in medians[skipped:]]
    if len(logs) < LEAST_RUNS:
        return []
    sigma = max(_sigma(logs), LEAST_SIGMA)
    cuts = _search(_without_outliers(logs, sigma), sigma)
    return [skipped + cut for cut in _worth(logs, cuts)]


def _search(logs: Sequence[float], sigma: float) -> list[int]:
    import numpy as np
    import ruptures

    signal = np.asarray(logs, float).reshape(-1, 1) / sigma
    detector = ruptures.KernelCPD(kernel="linear", min_size=LEAST_LEVEL_RUNS).fit(signal)
    return [int(cut) for cut in detector.predict(pen=PENALTY * math.log(len(logs)))[:-1]]


def _sigma(logs: Sequence[float]) -> float:
    """Noise of one run, from differences of neighbours: a change of level hardly moves it."""
    gaps = [abs(b - a) for a, b in pairwise(logs)]
    return 1.4826 * statistics.median(gaps) / math.sqrt(2)


def _without_outliers(logs: Sequence[float], sigma: float) -> list[float]:
    """Each value kept near its neighbourhood's median: one busy night is no level."""
    clipped = []
    for index, value in enumerate(logs):
        around = statistics.median(logs[max(0, index - 4) : index + 5])
        room = CLIP_SIGMAS * sigma
        clipped.append(min(max(value, around - room), around + room))
    return clipped


def _worth(logs: Sequence[float], cuts: Sequence[int]) -> list[int]:
    """Cuts whose levels differ by enough to be worth a mark; the smallest goes first."""
    bounds = [0, *cuts, len(logs)]
    while len(bounds) > 2:
        levels = [statistics.median(logs[a:b]) for a, b in pairwise(bounds)]
        steps = [abs(b - a) for a, b in pairwise(levels)]
        least = min(range(len(steps)), key=steps.__getitem__)
        if steps[least] >= math.log1p(WORTH_RATIO):
            break
        del bounds[least + 1]
    return bounds[1:-1]


def _change_point(
    points: Sequence[Point],
    index: int,
    before: Level,
    after: Level,
    environment: Sequence[EnvironmentChange],
) -> ChangePoint:
    ratio = after.median_s / before.median_s
    way = "slower" if ratio > 1 else "faster"
    first = points[index].run
    sentence = (
        f"{abs(ratio - 1) * 100:.1f} % {way} from {first.datetime[:10]} on "
        f"(commit {_short(points[index - 1])} → {_short(points[index])})"
    )
    # A level's first run is known to within a run or two.
    near = [change for change in environment if abs(change.index - index) <= 2]
    if near:
        sentence += f", where the environment changed too: {near[0].what}"
    return ChangePoint(index=index, ratio=ratio, sentence=sentence)


def _buckets(points: Sequence[Point]) -> list[Bucket]:
    size = math.ceil(len(points) / DRAWN)
    return [_bucket(points[start : start + size], start) for start in range(0, len(points), size)]


def _bucket(points: Sequence[Point], start: int) -> Bucket:
    median_s = statistics.median(point.median_s for point in points)
    first, last = points[0].run, points[-1].run
    when = f"{first.datetime[:10]} to {last.datetime[:10]}, {len(points)} runs"
    if len(points) == 1:
        when = f"{first.datetime[:16]}, commit {_short(points[0])}"
    return Bucket(
        index=start + (len(points) - 1) / 2,
        median_s=median_s,
        low_s=min(point.q1_s for point in points),
        high_s=max(point.q3_s for point in points),
        tip=f"{when}: {median_s * 1e3:.3f} ms",
    )


def _short(point: Point) -> str:
    return point.run.commit[:8] or "–"
