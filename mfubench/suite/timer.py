"""Who times a case's rounds: any object that keeps this protocol, or the plain timer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from mfubench.timing import time_s

Run = Callable[[], None]


class Timer(Protocol):
    """Times the rounds of one case. A case needs a timer of its own."""

    disabled: bool
    """Whether `time` times nothing, and calls what it is given once."""
    rounds_s: list[float]
    """Seconds of each round until now, per call of a round: the first ones where `time` was broken
    off."""

    def time(self, run: Run, *, rounds: int, calls: int = 1, before: Run | None = None) -> None:
        """Time so many rounds of `calls` calls of `run` each. `before` is called untimed before
        each round, of one call only."""


class PlainTimer:
    """Times rounds outside pytest."""

    def __init__(self) -> None:
        self.disabled = False
        self.rounds_s: list[float] = []

    def time(self, run: Run, *, rounds: int, calls: int = 1, before: Run | None = None) -> None:
        """See `Timer.time`."""

        def one_round() -> None:
            for _ in range(calls):
                run()

        for _ in range(rounds):
            if before is not None:
                before()
            self.rounds_s.append(time_s(one_round) / calls)
