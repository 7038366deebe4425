"""Bounds by signed ranks: exact against enumeration, and right as often as they say."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfubench.analysis import signed_rank

values = st.lists(st.floats(-1, 1, allow_nan=False), min_size=1, max_size=12)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_the_distribution_is_the_enumerated_one(n: int) -> None:
    sums = [
        sum(rank for rank, sign in zip(range(1, n + 1), signs, strict=True) if sign)
        for signs in itertools.product((0, 1), repeat=n)
    ]
    expected = [sum(s <= w for s in sums) / 2**n for w in range(n * (n + 1) // 2 + 1)]
    assert signed_rank.tail(n) == pytest.approx(expected)


@given(values, st.floats(-1, 1, allow_nan=False))
def test_bounds_move_with_the_values(several: list[float], shift: float) -> None:
    moved = [value + shift for value in several]
    low, high = signed_rank.interval(several)
    moved_low, moved_high = signed_rank.interval(moved)
    if math.isfinite(low):
        assert moved_low == pytest.approx(low + shift, abs=1e-9)
        assert moved_high == pytest.approx(high + shift, abs=1e-9)
        assert low <= signed_rank.centre(several) <= high


@given(values, st.floats(0.001, 0.5))
def test_bounds_mirror(several: list[float], alpha: float) -> None:
    low = signed_rank.lower_bound(several, alpha)
    high = signed_rank.upper_bound([-value for value in several], alpha)
    assert (low is None) == (high is None)
    if low is not None and high is not None:
        assert low == pytest.approx(-high)


@pytest.mark.parametrize("tails", ["normal", "heavy"])
def test_the_interval_holds_the_centre_as_often_as_it_says(tails: str) -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(3000, 10)) if tails == "normal" else rng.standard_t(2, (3000, 10))
    held = sum(low <= 0 <= high for low, high in map(signed_rank.interval, draws))
    # 95.1 % is the nearest that ten values allow.
    assert 0.94 < held / len(draws) < 0.965


def test_one_outlier_moves_a_bound_little() -> None:
    quiet = [0.010, 0.011, 0.009, 0.010, 0.012, 0.008, 0.010, 0.011, 0.009, 0.010]
    spoilt = [*quiet[:-1], 0.5]
    assert signed_rank.lower_bound(spoilt, 0.01) == pytest.approx(0.0095, abs=0.001)
