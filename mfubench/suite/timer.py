"""Who times a case's rounds: any object that keeps this protocol, or the plain timer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from mfubench.timing import time_s


class Timer(Protocol):
    """Times the rounds of one case. A case needs a timer of its own."""

    @property
    def disabled(self) -> bool:
        """Whether `time` only calls what it is given once, and times nothing."""

    @property
    def rounds_s(self) -> list[float]:
        """Seconds of each round until now: the first ones where `time` was broken off."""

    def time(
        self,
        run: Callable[[], None],
        *,
        rounds: int,
        before: Callable[[], None] | None = None,
        question: str,
    ) -> None:
        """Call `run` that many times and time each call. `before` is called untimed before each.

        `question` is what the rounds answer; a timer may group its results by it.
        """


class PlainTimer:
    """Times rounds outside pytest."""

    disabled = False

    def __init__(self) -> None:
        self.rounds_s: list[float] = []

    def time(
        self,
        run: Callable[[], None],
        *,
        rounds: int,
        before: Callable[[], None] | None = None,
        question: str = "",
    ) -> None:
        """See `Timer.time`."""
        del question
        for _ in range(rounds):
            if before is not None:
                before()
            self.rounds_s.append(time_s(run))
