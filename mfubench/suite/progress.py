"""Progress of a run: a line per case, and on a terminal what is happening now and for how long."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

from mfubench.measure.warmup import WINDOW, rounds_for
from mfubench.show.units import format_duration
from mfubench.suite.sweep import SweepPlan

EXPECTED_SETUP_S = 1.0
EXPECTED_COMPILE_S = 25.0
"""First guesses on a small machine, beside the sweep's own budgets; each case that ends corrects
them."""


def _rounds_s(sweep: SweepPlan, step_s: float | None) -> float:
    """Seconds of warm-up and timed rounds: the budgets, unless a step is predicted.

    >>> from mfubench.suite.sweep import PLANS
    >>> _rounds_s(PLANS["smoke"], None), _rounds_s(PLANS["smoke"], 60.0)
    (1.6, 420.0)
    """
    if step_s is None:
        return sweep.rounds_budget_s + sweep.warmup_budget_s / 2
    warm_s = min(2 * WINDOW * step_s, step_s + sweep.warmup_budget_s)
    return max(2 * step_s, warm_s) + step_s * rounds_for(step_s, sweep.rounds_budget_s)


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

    def plan(
        self,
        cases: Mapping[str, bool],
        sweep: SweepPlan,
        steps_s: Mapping[str, float] | None = None,
    ) -> None:
        """Say which cases will run: test id to whether it compiles; and what a step of some of them
        is predicted to take."""
        steps_s = steps_s or {}
        self._expected_s = {
            name: _rounds_s(sweep, steps_s.get(name))
            + EXPECTED_SETUP_S
            + EXPECTED_COMPILE_S * compiled
            for name, compiled in cases.items()
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
