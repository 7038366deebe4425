"""Progress of a run: a line per case, and on a terminal what is happening now and for how long."""

from __future__ import annotations

import time
from typing import Protocol

from mfubench.show.units import format_duration
from mfubench.suite.sweep import SweepPlan

EXPECTED_SETUP_S = 1.0
EXPECTED_COMPILE_S = 25.0
"""First guesses on a small machine, beside the sweep's own budgets; each case that ends corrects
them."""


class Screen(Protocol):
    """Where progress is written."""

    is_terminal: bool

    def line(self, text: str) -> None:
        """Write a lasting line."""

    def transient(self, text: str) -> None:
        """Show a text that the next output replaces. Only called on a terminal."""


class Progress:
    """Counts cases and guesses the time left. Never writes while a round is being timed."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._expected_s: dict[str, float] = {}
        self._total = 0
        self._done = 0
        self._current: str | None = None
        self._case_start_s = 0.0
        self._expected_spent_s = 0.0
        self._spent_s = 0.0

    def plan(self, cases: dict[str, bool], sweep: SweepPlan) -> None:
        """Say which cases will run: test id to whether it compiles."""
        eager_s = sweep.rounds_budget_s + sweep.warmup_budget_s / 2 + EXPECTED_SETUP_S
        self._expected_s = {
            name: eager_s + EXPECTED_COMPILE_S * compiled for name, compiled in cases.items()
        }
        self._total = len(cases)

    def start(self, name: str) -> None:
        self._current = name
        self._case_start_s = time.perf_counter()

    def phase(self, what: str) -> None:
        """Show what the current case is doing; on anything but a terminal, nothing."""
        if self._screen.is_terminal and self._current is not None:
            self._screen.transient(f"  [{self._done + 1}/{self._total}] {what}{self._left()}")

    def finish(self, name: str, summary: str) -> None:
        """A case ended: one lasting line."""
        self._done += 1
        self._spent_s += time.perf_counter() - self._case_start_s
        self._expected_spent_s += self._expected_s.pop(name, 0.0)
        self._current = None
        self._screen.line(f"  [{self._done}/{self._total}] {summary}{self._left()}")

    def _left(self) -> str:
        if not self._expected_s:
            return ""
        return f" · about {format_duration(max(1, round(self.time_left_s())))} left"

    def time_left_s(self) -> float:
        """Expected seconds of the cases to come, scaled by how wrong the guesses were so far."""
        scale = self._spent_s / self._expected_spent_s if self._expected_spent_s else 1.0
        running_s = time.perf_counter() - self._case_start_s if self._current else 0.0
        return max(0.0, scale * sum(self._expected_s.values()) - running_s)
