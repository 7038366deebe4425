"""The time of a search for a script: what is left of it, and what pairs of processes take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mfubench.advise.script_verification import LEAST_PAIRS, SIDES
from mfubench.sides.pair import ScriptPair

RESERVED = 0.65
"""Of the budget, at most, is held back for what comes after the settings alone."""
NOT_FORKED = 2.0
"""How much longer a pair takes whose processes are no forks, before one was timed."""


@dataclass
class ScriptBudget:
    """What pairs took so far says what the next ones take."""

    budget_s: float
    now_s: Callable[[], float] = time.monotonic
    _sides_s: dict[bool, list[float]] = field(default_factory=lambda: {True: [], False: []})
    """Seconds of each pair for each of its sides, of steadied ones and of others, where nothing
    compiled for the first time."""
    _first_side_s: float | None = None

    def __post_init__(self) -> None:
        self._since_s = self.now_s()

    @property
    def spent_s(self) -> float:
        """Since the search began."""
        return self.now_s() - self._since_s

    def left_s(self, share: float = 1.0) -> float:
        """Of so much of the budget."""
        return share * self.budget_s - self.spent_s

    def spare_s(self, later_s: float = 0.0) -> float:
        """What is left for settings alone, when what comes later and the last check are held
        back."""
        return self.left_s() - min(self.verified_s + later_s, RESERVED * self.budget_s)

    @property
    def before_check_s(self) -> float:
        """What is left when the result has been verified."""
        return self.left_s() - self.verified_s

    @property
    def verified_s(self) -> float:
        """What the last check takes, at the least."""
        return self.expected_s(SIDES * LEAST_PAIRS, steadied=False)

    def expected_s(self, sides: int, *, steadied: bool = True) -> float:
        """What pairs of so many sides take in all. Only steadied ones are forked."""
        if not steadied and self._sides_s[True] and not self._sides_s[False]:
            return NOT_FORKED * self.expected_s(sides)
        return sides * statistics.median(self._sides_s[steadied] or [self._first_side_s or 0.0])

    def took(self, pair: ScriptPair, sides: int, *, steadied: bool, is_typical: bool) -> None:
        """`is_typical` unless something compiled in it for the first time."""
        if self._first_side_s is None:  # its processes are their own, and it is all that is known
            self._first_side_s = pair.seconds / sides
        elif is_typical:
            self._sides_s[steadied].append(pair.seconds / sides)
