"""One comparison: pairs until every side has its verdict, or the time is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from mfubench.compare.document import UNCLEAR, Comparison, Ended
from mfubench.compare.rule import ALPHA, LOOKS, Judged, judge, log_ratio
from mfubench.compare.summary import compared_sides, notes
from mfubench.pairs.journal import PairJournal
from mfubench.sides.bench import TooShortError
from mfubench.sides.pair import ScriptPair
from mfubench.sides.spec import SideSpec

GIVE_UP_AFTER = 2
"""Pairs in which a side fails, before it is measured no further."""


class CouldNotRunError(RuntimeError):
    """A comparison without a single pair, in one sentence."""


class Bench(Protocol):
    """What measures a pair."""

    sides: Sequence[SideSpec]
    is_steadied: bool

    def pair(self, wanted: Sequence[int], number: int, left_s: float) -> ScriptPair:
        """One pair of the sides with these numbers."""


@dataclass
class Comparing:
    """The measuring of a comparison and its judgement.

    Pairs that an earlier, interrupted one kept come first, as if they were measured now.
    """

    bench: Bench
    journal: PairJournal
    precision: float
    budget_s: float
    say: Callable[[str], None] = lambda _: None
    now_s: Callable[[], float] = time.monotonic
    pairs: list[ScriptPair] = field(default_factory=list)
    judged: dict[int, Judged] = field(default_factory=dict)
    looks: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    """Of each side: the number of its pairs, and the share of the budget that was spent then."""

    def run(self) -> Comparison:
        """Raises CouldNotRunError when there is no pair with two sides in it, and TooShortError
        when the budget is too short for one. An interrupt ends it with what there is."""
        self._kept = [msgspec.convert(pair, ScriptPair) for pair in self.journal.pairs]
        self._open = set(range(1, len(self.bench.sides)))
        try:
            ended = self._measure()
        except KeyboardInterrupt:
            ended = "interrupted"
        if not any(self._logs(side) for side in range(1, len(self.bench.sides))):
            self._refuse(ended)
        for side in sorted(self._open):
            self._look(side, ended=True)
        return self._comparison(ended)

    # --- measuring --------------------------------------------------------------------------------

    def _measure(self) -> Ended:
        while self._open:
            number = len(self.pairs)
            if number >= LOOKS[-1]:
                return "out of pairs"
            if number and self._spent_s + self._typical_s > self.budget_s:
                return "out of budget"
            try:
                pair = self._next_pair(number)
            except TooShortError:
                if number == 0:
                    raise
                return "out of budget"
            self.pairs.append(pair)
            self._tell(pair)
            self._drop_failed()
            if 0 not in self._able:
                return "failed"
            if number + 1 in LOOKS:
                for side in sorted(self._open):
                    if self._look(side).is_final:
                        self._open.discard(side)
        return "decided" if self.judged else "failed"

    def _next_pair(self, number: int) -> ScriptPair:
        if number < len(self._kept):
            return self._kept[number]
        wanted = sorted({0, *self._open})
        pair = self.bench.pair(wanted, number, self.budget_s - self._spent_s)
        self.journal.add(msgspec.to_builtins(pair))
        return pair

    @property
    def _spent_s(self) -> float:
        return sum(pair.seconds for pair in self.pairs)

    @property
    def _typical_s(self) -> float:
        """Of a pair; the first one is slower, as nothing is compiled and all start alone."""
        return self.pairs[-1].seconds if len(self.pairs) > 1 else 0.0

    def _failures(self, side: int) -> list[str]:
        return [pair.errors[str(side)] for pair in self.pairs if str(side) in pair.errors]

    @property
    def _able(self) -> set[int]:
        return {
            side
            for side in range(len(self.bench.sides))
            if len(self._failures(side)) < GIVE_UP_AFTER
            and not (len(self.pairs) == 1 and self._failures(side))
        }

    def _drop_failed(self) -> None:
        self._open &= self._able

    def _tell(self, pair: ScriptPair) -> None:
        for side, words in pair.errors.items() if len(self.bench.sides) > 2 else ():
            self.say(f"{self.bench.sides[int(side)].label}: {words}")
        self.say(f"pair {pair.number + 1}, {self._spent_s:.0f} of {self.budget_s:.0f} s")

    # --- judging ----------------------------------------------------------------------------------

    def _logs(self, side: int) -> list[float]:
        """Log-ratios of step times over the reference's, one per pair."""
        return [
            log_ratio(pair.sides[str(side)].steps_s, pair.sides["0"].steps_s)
            for pair in self.pairs
            if str(side) in pair.sides and "0" in pair.sides
        ]

    def _look(self, side: int, *, ended: bool = False) -> Judged:
        """With `ended` there will be no more pairs: what is left of the error is spent."""
        logs, looks = self._logs(side), self.looks.setdefault(side, [])
        share = 1.0 if ended else min(1.0, self._spent_s / self.budget_s)
        if looks and looks[-1][0] == len(logs):
            share = max(share, looks.pop()[1])
        if logs:
            looks.append((len(logs), share))
        sides = len(self.bench.sides) - 1
        self.judged[side] = judge(logs, self.precision, looks=looks, sides=sides)
        return self.judged[side]

    def _refuse(self, ended: Ended) -> None:
        for side, spec in enumerate(self.bench.sides):
            if words := self._failures(side):
                self.journal.finish()
                raise CouldNotRunError(f"{spec.label}: {words[0]}")
        if ended == "interrupted":
            raise KeyboardInterrupt
        raise CouldNotRunError("no pair could be measured")

    def _comparison(self, ended: Ended) -> Comparison:
        sides = compared_sides(
            self.bench.sides,
            self.pairs,
            self.judged,
            {side: self._logs(side) for side in self.judged},
            self.precision,
            {n: words[0] for n in range(len(self.bench.sides)) if (words := self._failures(n))},
        )
        is_clear = any(side.verdict != UNCLEAR for side in sides[1:])
        return Comparison(
            sides=sides,
            pairs=len(self.pairs),
            precision=self.precision,
            confidence=1 - ALPHA,
            looks=sorted({pairs for looks in self.looks.values() for pairs, _ in looks}),
            is_steadied=self.bench.is_steadied,
            budget_s=self.budget_s,
            spent_s=self._spent_s,
            ended=ended,
            exit_status=0 if is_clear else 2,
            notes=notes(sides, self.pairs),
            measured=self.pairs,
        )
