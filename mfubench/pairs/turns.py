"""Loops that take turns: each side's seconds per token, the effect, and the bars that moved."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import asdict

from mfubench.analysis.bar_changes import bar_changes, typical
from mfubench.analysis.effect import (
    Effect,
    break_even_iters,
    effect_of,
    effect_over_processes,
    net_ratio,
)
from mfubench.measure.loop_config import SLOW_STEP_S
from mfubench.measure.train_step import SEED
from mfubench.pairs.process import SETTLE_S, Worker, WorkerError
from mfubench.results.bars import BarChange

WARM_STEPS, FEW_WARM_STEPS = 12, 5
TURNS, TURNS_PER_BUILD = 24, 3
"""Of a knob in one or two processes. Two loops of one configuration differ by some per cent for as
long as they live, as their memory happens to lie: so both are built anew, and a build counts once.
"""
TURN_S = 0.12
"""A turn lasts about this long, at least one step: fine turns let the machine's drift cancel."""
TURNS_PER_PROCESS, SLOW_TURNS_PER_PROCESS, FINE_TURN_S = 8, 4, 0.03
"""Of several pairs of processes. The machine's speed changes within a tenth of a second, so that
many short turns tell more than few long ones of the same total."""
WARM_S = 1.0
"""Of an eager loop, at least two steps: slow ones are warm after few."""
LONG_START_S = 60.0
PROFILED_BLOCKS = 3
LONGEST_PROFILED_S = 1.0
"""Of an iteration: a profile takes about fifty, and one that would take minutes is not taken."""
HORIZON_ITERS = 2000
"""Iterations over which compilation is charged."""


@dataclass
class Side:
    """A worker that takes turns, and the seconds per token of each turn."""

    worker: Worker
    steps: int
    step_s: float
    """As it was before the first turn."""
    s_per_token: list[float] = field(default_factory=list)

    def turn(self) -> None:
        self.s_per_token.append(self.worker.turn(self.steps) / self.worker.tokens_per_step)
        time.sleep(SETTLE_S)


@dataclass
class Turns:
    """Baselines and a candidate that take turns."""

    bases: list[Side]
    candidate: Side
    start_up_s: float
    """What the candidate's first steps took beyond steady ones."""
    warm_start_up_s: float | None = None
    """The same in another process that finds the compiled code of the first."""
    turns_per_build: int = 0
    """After so many turns both sides build their loops anew; 0: never."""
    bars: list[BarChange] | None = None
    """Where the time went or came from; None until `profile`, and where nothing says so."""

    def prepare(self) -> None:
        """Before each turn of the candidate: loops built anew where it is time, and the turns of
        the baselines."""
        taken = len(self.candidate.s_per_token)
        if self.turns_per_build and taken and taken % self.turns_per_build == 0:
            self._build_anew()
        for base in self.bases:
            base.turn()

    def turn(self) -> None:
        """A turn of the candidate."""
        self.candidate.turn()

    def take(self, turns: int) -> None:
        """A turn of every side, `turns` times."""
        for _ in range(turns):
            self.prepare()
            self.turn()

    @property
    def s_per_token(self) -> list[float]:
        """The candidate's turns."""
        return self.candidate.s_per_token

    @property
    def tokens_per_step(self) -> int:
        """Of the candidate."""
        return self.candidate.worker.tokens_per_step

    def _build_anew(self) -> None:
        """A compiled loop stays: building it anew would compile it anew."""
        for worker in (side.worker for side in (*self.bases, self.candidate)):
            if worker.config.compile == "no":
                worker.restart(SEED)
                worker.turn(FEW_WARM_STEPS)

    def effect(self) -> Effect:
        """Over builds, over processes where there are several, else over turns."""
        candidate = self.candidate.s_per_token
        if len(self.bases) > 1:
            return effect_over_processes([(around(b.s_per_token), candidate) for b in self.bases])
        base = self.bases[0].s_per_token
        if self.turns_per_build:
            return effect_of(*(medians(times, self.turns_per_build) for times in (base, candidate)))
        return effect_of(around(base), candidate)

    @property
    def base_iteration_s(self) -> float:
        """Seconds of an iteration of the (first) baseline."""
        tokens = self.bases[0].worker.tokens_per_step
        return tokens * statistics.median(self.bases[0].s_per_token)

    def profile(self) -> None:
        """Learn which bars the change moved. No process may have ended."""
        self.bars = self.bars_at(self.effect().ratio)

    def bars_at(self, ratio: float) -> list[BarChange] | None:
        """The bars that moved, for a candidate `ratio` times as fast."""
        base, candidate = self.bases[0].worker, self.candidate.worker
        return bars_moved(base, candidate, before_s=self.base_iteration_s, ratio=ratio)

    def charged(self) -> dict[str, Any]:
        """Compilation over `HORIZON_ITERS` iterations of the candidate."""
        tokens = self.candidate.worker.tokens_per_step
        base_s = tokens * statistics.median_high(self.bases[0].s_per_token)
        candidate_s = tokens * statistics.median_high(self.candidate.s_per_token)
        return {
            "start_up_s": self.start_up_s,
            "warm_start_up_s": self.warm_start_up_s,
            "break_even_iters": break_even_iters(self.start_up_s, base_s, candidate_s),
            "net_ratio": net_ratio(self.start_up_s, base_s, candidate_s, HORIZON_ITERS),
            "horizon_iters": HORIZON_ITERS,
        }

    def as_data(self) -> dict[str, Any]:
        """The effect and the pairs, in JSON types."""
        data = asdict(self.effect())
        data["base_s_per_token"] = [base.s_per_token for base in self.bases]
        data["candidate_s_per_token"] = self.candidate.s_per_token
        data["turns_per_build"] = self.turns_per_build
        data["bars"] = bars_data(self.bars)
        if self.candidate.worker.config.compile != "no":
            data |= self.charged()
        return data


@dataclass
class ProcessPairs:
    """Pairs of processes, one of the baseline and one of the candidate, that take turns pair by
    pair. A pair is the unit of the interval."""

    pairs: list[Turns]
    bars: list[BarChange] | None = None

    @property
    def turns(self) -> int:
        """How many turns all candidates together should take."""
        slow = any(pair.candidate.step_s > SLOW_STEP_S for pair in self.pairs)
        return len(self.pairs) * (SLOW_TURNS_PER_PROCESS if slow else TURNS_PER_PROCESS)

    @property
    def _next(self) -> Turns:
        """The pair whose turn it is."""
        return min(self.pairs, key=lambda pair: len(pair.s_per_token))

    def prepare(self) -> None:
        """Before each turn of a candidate, the turn of its baseline."""
        self._next.prepare()

    def turn(self) -> None:
        """A turn of the candidate whose baseline had the last one."""
        self._next.turn()

    def take(self, turns: int) -> None:
        """So many turns of every side."""
        for _ in range(turns * len(self.pairs)):
            self.prepare()
            self.turn()

    @property
    def s_per_token(self) -> list[float]:
        """The candidates' turns, process after process."""
        return [seconds for pair in self.pairs for seconds in pair.s_per_token]

    @property
    def tokens_per_step(self) -> int:
        """Of the candidate."""
        return self.pairs[0].tokens_per_step

    def effect(self) -> Effect:
        """Over processes."""
        return effect_over_processes(
            [(around(pair.bases[0].s_per_token), pair.s_per_token) for pair in self.pairs]
        )

    def profile(self) -> None:
        """Learn which bars the change moved, from one pair. No process may have ended."""
        self.bars = self.pairs[0].bars_at(self.effect().ratio)

    def as_data(self) -> dict[str, Any]:
        """The effect and the pairs, in JSON types."""
        return {
            **asdict(self.effect()),
            "base_s_per_token": [pair.bases[0].s_per_token for pair in self.pairs],
            "candidate_s_per_token": self.s_per_token,
            "turns_per_build": 0,
            "bars": bars_data(self.bars),
        }


def bars_data(bars: Sequence[BarChange] | None) -> list[dict[str, Any]] | None:
    """JSON types."""
    return None if bars is None else [asdict(bar) for bar in bars]


def around(base: Sequence[float]) -> list[float]:
    """For each turn of a candidate the mean of the baseline's turns before and after it.

    >>> around([1.0, 2.0, 4.0])
    [1.5, 3.0, 4.0]
    """
    return [(a + b) / 2 for a, b in zip(base, [*base[1:], base[-1]], strict=True)]


def medians(times: Sequence[float], size: int) -> list[float]:
    """The median of each `size` times in a row.

    >>> medians([1.0, 2.0, 9.0, 4.0, 5.0, 5.0], 3)
    [2.0, 5.0]
    """
    return [statistics.median(times[i : i + size]) for i in range(0, len(times), size)]


def bars_moved(
    base: Worker, candidate: Worker, *, before_s: float, ratio: float
) -> list[BarChange] | None:
    """The bars of two loops from profiles that take turns, for iterations of the same tokens: the
    base's lasts `before_s`, the candidate is `ratio` times as fast. None where there is no profile
    (compiled code on a CPU) and where one would take minutes."""
    if before_s > LONGEST_PROFILED_S:
        return None
    try:
        # The candidate first: what cannot be profiled says so before anything is.
        pairs = [(candidate.bars(), base.bars()) for _ in range(PROFILED_BLOCKS)]
        after, before = ([pair[side] for pair in pairs] for side in (0, 1))
        return bar_changes(
            typical(before), typical(after), before_s=before_s, after_s=before_s / ratio
        )
    except (WorkerError, ValueError):
        return None


def warm(worker: Worker, steps: int = WARM_STEPS) -> tuple[float, float]:
    """Seconds by which the first two steps and the first evaluation exceed steady ones, and those
    of a steady step. A compiled model is compiled for the evaluation once more."""
    times_s = worker.run(1)
    if times_s[0] > LONG_START_S:
        steps = 3
    elif worker.config.compile == "no":
        steps = min(steps, max(2, round(WARM_S / times_s[0])))
    times_s += worker.run(steps)
    steady_s = statistics.median_high(times_s[-5:])
    first_s, second_s = worker.evaluation_s(), worker.evaluation_s()
    worker.save()
    excess_s = [first_s - second_s, *(t - steady_s for t in times_s[:2])]
    return sum(max(0.0, s) for s in excess_s), steady_s


def steady_step_s(worker: Worker) -> float:
    """Seconds of a step of a worker that has been warmed."""
    return statistics.median_high(worker.run(3))


def ready(worker: Worker, turn_s: float = TURN_S) -> Side:
    """A worker that has been warmed, ready to take turns."""
    return side_of(worker, steady_step_s(worker), turn_s)


def side_of(worker: Worker, step_s: float, turn_s: float) -> Side:
    """A worker whose warm steps take `step_s`, with turns of `turn_s`."""
    return Side(worker, steps_per_turn(step_s, turn_s), step_s)


def steps_per_turn(step_s: float, turn_s: float) -> int:
    """How many steps make a turn.

    >>> steps_per_turn(0.040, 0.12), steps_per_turn(3.0, 0.12)
    (3, 1)
    """
    return max(1, round(turn_s / max(step_s, 1e-6)))
