"""Sides that take turns: who comes when, what each turn gave, and the effect over pairs."""

from __future__ import annotations

import itertools
import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from msgspec.structs import asdict

from mfubench.analysis.effect import (
    Effect,
    break_even_iters,
    effect_of,
    effect_over_processes,
    net_ratio,
)
from mfubench.measure.loop_config import SLOW_STEP_S
from mfubench.measure.train_step import SEED
from mfubench.pairs.loop_side import FEW_WARM_STEPS, LoopSide, profiled_changes
from mfubench.pairs.side import Side
from mfubench.results.bars import BarChange

TURNS, TURNS_PER_BUILD = 24, 3
"""Of a knob in one or two processes. Two loops of one configuration differ by some per cent for as
long as they live, as their memory happens to lie: so both are built anew, and a build counts once.
"""
TURN_S = 0.12
"""A turn lasts about this long, at least one step: fine turns let the machine's drift cancel."""
TURNS_PER_PROCESS, SLOW_TURNS_PER_PROCESS, FINE_TURN_S = 8, 4, 0.03
"""Of several pairs of processes. The machine's speed changes within a tenth of a second, so that
many short turns tell more than few long ones of the same total."""
TURNS_PER_PAIR_S, LONGEST_TURNS_S, LEAST_TURNS, MOST_TURNS = 0.7, 2.1, 6, 120
"""All turns of a side in one pair of processes: at least, and at most where they do not agree."""
TOLD = 0.008
"""Turns that tell a ratio to within this standard error are enough."""
SETTLE_S = 0.01
"""Between turns: threads of the side that has just stopped spin for some milliseconds."""
HORIZON_ITERS = 2000
"""Iterations over which compilation is charged."""

S = TypeVar("S", bound=Side)
T = TypeVar("T")


@dataclass
class TurnTaker(Generic[S]):
    """A side that takes turns of some steps, and what each of them gave."""

    side: S
    steps: int
    settle_s: float = field(default_factory=lambda: SETTLE_S)
    answers: list[dict[str, float]] = field(default_factory=list)

    def turn(self, **wanted: Any) -> None:
        """One turn; `wanted` is what the side is asked for beside it. Raises SideError."""
        self.answers.append(self.side.turn(self.steps, **wanted))
        time.sleep(self.settle_s)

    def each(self, name: str) -> list[float]:
        """One quantity of every turn."""
        return [answer[name] for answer in self.answers]

    @property
    def s_per_token(self) -> list[float]:
        """Of every turn of a loop."""
        return self.each("s_per_token")


def there_and_back(takers: Sequence[T], rounds: int) -> Iterator[Sequence[T]]:
    """The order A B B A: a drift of the machine that is even over a round cancels.

    >>> list(there_and_back("AB", 3))
    ['AB', 'BA', 'AB']
    """
    for number in range(rounds):
        yield takers if number % 2 == 0 else takers[::-1]


def shuffled(takers: Sequence[T], rounds: int, *, seed: int = 0) -> Iterator[Sequence[T]]:
    """One turn of everyone per round, in an order that is drawn anew for each."""
    order = random.Random(seed)
    for _ in range(rounds):
        yield order.sample(takers, len(takers))


def steps_per_turn(step_s: float, turn_s: float) -> int:
    """How many steps make a turn.

    >>> steps_per_turn(0.040, 0.12), steps_per_turn(3.0, 0.12)
    (3, 1)
    """
    return max(1, round(turn_s / max(step_s, 1e-6)))


class TurnPlan(NamedTuple):
    """Turns of a side in one pair of processes; their numbers are even, as the order is A B B A."""

    least: int
    most: int
    steps: int
    """Of each turn."""


def turn_plan(step_s: float) -> TurnPlan:
    """How many turns of how many steps.

    >>> turn_plan(0.034), turn_plan(0.008)[:3], turn_plan(3.0)[:3]
    (TurnPlan(least=20, most=62, steps=1), (22, 66, 4), (6, 6, 1))
    """
    steps = max(1, round(FINE_TURN_S / max(step_s, 1e-6)))

    def turns(seconds: float) -> int:
        fitting = 2 * round(seconds / (2 * steps * max(step_s, 1e-6)))
        return min(max(fitting, LEAST_TURNS), MOST_TURNS)

    return TurnPlan(turns(TURNS_PER_PAIR_S), turns(LONGEST_TURNS_S), steps)


def rounds_until(
    sides: Sequence[T], plan: TurnPlan, is_told: Callable[[], bool]
) -> Iterator[Sequence[T]]:
    """The order A B B A, until the plan's fewest turns are over and the turns tell enough, or its
    most are. A process costs seconds to start, a turn a part of one: so the noise of a busy
    machine is met by more turns first, and by more pairs of processes then."""
    for number, names in enumerate(there_and_back(sides, plan.most)):
        if number >= plan.least and number % 2 == 0 and is_told():
            return
        yield names


def error_of_median(values: Sequence[float]) -> float:
    """The standard error of the median, about: half of what lies between the values half a
    root of n ranks above and below it. No distribution is assumed.

    >>> error_of_median([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    1.5
    """
    count = len(values)
    share = min(math.sqrt(count) / (2 * (count - 1)), 0.5) if count > 1 else 0.0
    low, high = np.quantile(values, (0.5 - share, 0.5 + share))
    return float(high - low) / 2


def is_told(times_s: Sequence[float], others_s: Sequence[float]) -> bool:
    """Whether the turns of two sides tell their ratio to within `TOLD`."""
    logs = [math.log(a / b) for a, b in zip(times_s, others_s, strict=True)]
    return error_of_median(logs) <= TOLD


def ready(side: LoopSide, turn_s: float = TURN_S) -> TurnTaker[LoopSide]:
    """A side that has been warmed, ready to take turns of `turn_s` seconds."""
    return TurnTaker(side, steps_per_turn(side.steady_step_s(), turn_s))


@dataclass
class Pairing:
    """Training loops that take turns: baselines and one candidate, or as many pairs of a baseline
    and a candidate, pair by pair."""

    bases: list[TurnTaker[LoopSide]]
    candidates: list[TurnTaker[LoopSide]]
    start_up_s: float
    """What the candidate's first steps took beyond steady ones."""
    step_s: float = 0.0
    """Of the slowest candidate, before the first turn."""
    warm_start_up_s: float | None = None
    """The start-up in another process that finds the compiled code of the first."""
    turns_per_build: int = 0
    """After so many turns both sides build their loops anew; 0: never."""
    bars: list[BarChange] | None = None
    """Where the time went or came from; None until `profile`, and where nothing says so."""

    @property
    def candidate(self) -> TurnTaker[LoopSide]:
        """The candidate, the first one of several."""
        return self.candidates[0]

    @property
    def s_per_token(self) -> list[float]:
        """The candidates' turns, process after process."""
        return [seconds for candidate in self.candidates for seconds in candidate.s_per_token]

    @property
    def tokens_per_step(self) -> int:
        """Of the candidate."""
        return self.candidate.side.tokens_per_step

    @property
    def is_compiled(self) -> bool:
        """Whether the candidate is and its baseline is not, so that compiling is a price to pay."""
        base, candidate = (taker.side.config for taker in (self.bases[0], self.candidate))
        return candidate.compile != "no" and base.compile == "no"

    # --- turns ------------------------------------------------------------------------------------

    @property
    def turns(self) -> int:
        """How many turns all candidates of several pairs together should take."""
        slow = self.step_s > SLOW_STEP_S
        return len(self.candidates) * (SLOW_TURNS_PER_PROCESS if slow else TURNS_PER_PROCESS)

    @property
    def _next(self) -> int:
        """The candidate whose turn it is."""
        return sum(len(one.answers) for one in self.candidates) % len(self.candidates)

    def prepare(self) -> None:
        """Before each turn of a candidate: loops built anew where it is time, and the turns of
        its baselines."""
        taken = len(self.candidate.answers)
        if self.turns_per_build and taken and taken % self.turns_per_build == 0:
            self._build_anew()
        for base in self.bases if len(self.candidates) == 1 else [self.bases[self._next]]:
            base.turn()

    def turn(self) -> None:
        """A turn of the candidate whose baselines had the last one."""
        self.candidates[self._next].turn()

    def take(self, turns: int) -> None:
        """A turn of every side, `turns` times."""
        for _ in range(turns * len(self.candidates)):
            self.prepare()
            self.turn()

    def _build_anew(self) -> None:
        """A compiled loop stays: building it anew would compile it anew."""
        for side in (taker.side for taker in (*self.bases, *self.candidates)):
            if side.config.compile == "no":
                side.restart(SEED)
                side.turn(FEW_WARM_STEPS)

    # --- what came of them ------------------------------------------------------------------------

    def effect(self) -> Effect:
        """Over processes where there are several, over builds where there are some, else over
        turns."""
        base, candidate = self.bases[0].s_per_token, self.candidate.s_per_token
        if len(self.bases) > 1:
            pairs = zip(self.bases, itertools.cycle(self.candidates), strict=False)
            return effect_over_processes([(around(b.s_per_token), c.s_per_token) for b, c in pairs])
        if self.turns_per_build:
            return effect_of(*(medians(times, self.turns_per_build) for times in (base, candidate)))
        return effect_of(around(base), candidate)

    @property
    def base_iteration_s(self) -> float:
        """Seconds of an iteration of the (first) baseline."""
        base = self.bases[0]
        return base.side.tokens_per_step * statistics.median(base.s_per_token)

    def profile(self) -> None:
        """Learn which bars the change took its time from. No process may have ended."""
        self.bars = profiled_changes(
            self.bases[0].side,
            self.candidate.side,
            before_s=self.base_iteration_s,
            ratio=self.effect().ratio,
        )

    def charged(self) -> dict[str, Any]:
        """Compilation over `HORIZON_ITERS` iterations of the candidate."""
        base_s, candidate_s = (
            self.tokens_per_step * statistics.median_high(taker.s_per_token)
            for taker in (self.bases[0], self.candidate)
        )
        return {
            "start_up_s": self.start_up_s,
            "warm_start_up_s": self.warm_start_up_s,
            "break_even_iters": break_even_iters(self.start_up_s, base_s, candidate_s),
            "net_ratio": net_ratio(self.start_up_s, base_s, candidate_s, HORIZON_ITERS),
            "horizon_iters": HORIZON_ITERS,
        }

    def as_data(self) -> dict[str, Any]:
        """The effect and the pairs, in JSON types."""
        return {
            **asdict(self.effect()),
            "base_s_per_token": [base.s_per_token for base in self.bases],
            "candidate_s_per_token": self.s_per_token,
            "turns_per_build": self.turns_per_build,
            "bars": None if self.bars is None else [asdict(bar) for bar in self.bars],
            **(self.charged() if self.is_compiled else {}),
        }


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
