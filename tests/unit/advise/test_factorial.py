"""The factorial design: what it can tell, how often it errs, when it ends."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfubench.advise import factorial
from mfubench.analysis.effect import HELPS, UNCLEAR, Effect

GAINS = st.lists(st.floats(-0.1, 0.1), min_size=1, max_size=factorial.MOST)


@pytest.mark.parametrize("settings", range(1, factorial.MOST + 1))
def test_any_two_settings_are_together_as_often_as_apart(settings: int) -> None:
    rows = factorial.design(settings)
    columns = list(zip(*rows, strict=True))
    assert all(sum(column) == 0 for column in columns), "who comes first is even for each"
    for number, one in enumerate(columns):
        for other in columns[number + 1 :]:
            assert sum(a * b for a, b in zip(one, other, strict=True)) == 0
    assert len(rows) >= settings + 3, "degrees of freedom to spare"


@given(GAINS)
def test_without_noise_every_gain_is_told(gains: list[float]) -> None:
    def log_of(row: Sequence[int]) -> tuple[float, int]:
        return sum(sign * gain for sign, gain in zip(row, gains, strict=True)), 10

    *_, found = factorial.measured(len(gains), log_of, rounds=1)
    assert [math.log(one.ratio) for one in found] == pytest.approx(gains, abs=1e-9)
    assert {one.processes for one in found} == {len(factorial.design(len(gains)))}


def measured(gains: Sequence[float], seed: int, *, noise: float = 0.015) -> list[list[Effect]]:
    draw = random.Random(seed)

    def log_of(row: Sequence[int]) -> tuple[float, int]:
        told = sum(sign * gain for sign, gain in zip(row, gains, strict=True))
        return told + draw.gauss(0, noise), 10

    return list(factorial.measured(len(gains), log_of, rounds=factorial.MOST_ROUNDS))


def test_intervals_hold_at_all_looks_together() -> None:
    # A setting is missed where its interval leaves out the truth at any look: 5 in 100 may be.
    gains = [0.04, 0.03, 0.0, 0.0, 0.0]
    missed = tried = 0
    for seed in range(300):
        looks = measured(gains, seed)
        for number, gain in enumerate(gains):
            tried += 1
            missed += any(not e[number].low <= math.exp(gain) <= e[number].high for e in looks)
    assert missed / tried <= 0.06  # 5 %, and two standard errors


def test_what_gives_nothing_is_seldom_said_to_help_and_four_per_cent_is_mostly_seen() -> None:
    last = [measured([0.04, 0.0, 0.0, 0.0, 0.0], seed)[-1] for seed in range(200)]
    assert sum(one[0].verdict == HELPS for one in last) >= 180
    assert sum(effect.verdict == HELPS for one in last for effect in one[1:]) <= 16  # of 800


def test_it_ends_when_nothing_that_looks_faster_is_unclear() -> None:
    for seed in range(50):
        *earlier, last = measured([0.1, -0.1], seed)
        for effects in earlier:
            assert any(e.verdict == UNCLEAR and e.ratio >= 1.01 for e in effects)
        assert len(earlier) < factorial.MOST_ROUNDS
        assert last[0].verdict == HELPS
