"""Warm-up ends when steps have settled, and says what it cost."""

from __future__ import annotations

import pytest

from mfubench import timing
from mfubench.measure import warmup


class FakeClock:
    """A step that takes scripted times on a clock that only it moves."""

    def __init__(self, times_s: list[float]) -> None:
        self.now_s = 0.0
        self._times_s = iter(times_s)

    def step(self) -> None:
        self.now_s += next(self._times_s)

    def read_s(self) -> float:
        return self.now_s


def warm(monkeypatch: pytest.MonkeyPatch, times_s: list[float], **settings: float) -> warmup.WarmUp:
    clock = FakeClock(times_s)
    monkeypatch.setattr(timing, "clock_s", clock.read_s)
    return warmup.warm_until_steady(clock.step, **settings)  # type: ignore[arg-type]


def test_steady_steps_end_it_at_the_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    result = warm(monkeypatch, [1.0] * 100, budget_s=1000.0, min_steps=10)
    assert (len(result.times_s), result.steady) == (10, True)


def test_falling_times_prolong_it(monkeypatch: pytest.MonkeyPatch) -> None:
    falling = [2.0 * 0.8**n for n in range(12)] + [0.1] * 50
    result = warm(monkeypatch, falling, budget_s=1000.0, min_steps=8)
    assert result.steady
    assert len(result.times_s) > 12


def test_rising_times_prolong_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    rising = [1.0 * 1.1**n for n in range(14)] + [4.0] * 50
    result = warm(monkeypatch, rising, budget_s=1000.0, min_steps=8)
    assert result.steady
    assert len(result.times_s) > 14


def test_the_budget_ends_it_and_it_says_that_it_was_not_steady(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = warm(monkeypatch, [2.0 * 0.8**n for n in range(60)], budget_s=5.0, min_steps=50)
    assert not result.steady


def test_the_compiling_first_step_is_not_counted_against_the_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = warm(monkeypatch, [60.0] + [1.0] * 50, budget_s=30.0, min_steps=8)
    assert result.steady
    assert result.start_up_s == pytest.approx(59.0)


def test_a_very_slow_step_runs_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    result = warm(monkeypatch, [100.0] * 5, budget_s=1.0, min_steps=8)
    assert len(result.times_s) == 2
