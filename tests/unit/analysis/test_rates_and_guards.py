"""Rates are exact arithmetic over the median round; guards refuse what cannot be true."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfubench.analysis import rates
from mfubench.analysis.paired import paired_ratio
from mfubench.results.outcomes import Outcome
from mfubench.results.record import RATES, CaseRecord

positive = st.floats(1e-6, 1e15, allow_nan=False)


def record(**fields: object) -> CaseRecord:
    return CaseRecord(case_id="c", question="train-step", device="cpu", **fields)  # type: ignore[arg-type]


@given(positive, positive, positive, st.integers(1, 10**15))
def test_shares_are_flops_over_time_over_the_named_limit(
    step_s: float, peak: float, ceiling: float, flops: int
) -> None:
    r = record(step_s=step_s, peak_flops_per_s=peak, ceiling_flops_per_s=ceiling)
    rates.fill_rates(
        r,
        tokens=768,
        model_flops=flops,
        hardware_flops=None,
        palm_flops=None,
        nanogpt_flops=flops,
        flops_source="formula",
    )
    assert r.mfu == pytest.approx(flops / step_s / peak, rel=1e-12)
    assert r.ceiling_utilisation == pytest.approx(flops / step_s / ceiling, rel=1e-12)
    assert r.mfu_a100 == pytest.approx(flops / step_s / 312e12, rel=1e-12)
    assert r.tokens_per_s == pytest.approx(768 / step_s)


def test_an_unknown_peak_gives_no_mfu() -> None:
    r = record(step_s=0.1, peak_flops_per_s=None)
    rates.fill_rates(
        r,
        tokens=1,
        model_flops=10,
        hardware_flops=None,
        palm_flops=None,
        nanogpt_flops=None,
        flops_source="formula",
    )
    assert r.mfu is None
    assert r.mfu_a100 is None
    assert r.achieved_flops_per_s == 100


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_a_round_without_time_is_refused(bad: float) -> None:
    assert rates.refuse_times([0.1, 0.1]) is None
    reason = rates.refuse_times([0.1, bad])
    assert reason is not None
    assert "1 of 2" in reason


def test_time_must_grow_with_the_work() -> None:
    assert rates.refuse_growth([0.01, 0.05], [0.04, 0.2]) is None
    reason = rates.refuse_growth([0.01, 0.05], [0.011, 0.2])
    assert reason is not None
    assert "1.10 times as long as one" in reason


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_refused(loss: float) -> None:
    assert rates.refuse_loss(4.17) is None
    assert rates.refuse_loss(loss) is not None


def test_a_rate_above_the_ceiling_is_refused_only_beyond_its_noise() -> None:
    assert rates.refuse_rate(1.09e9, 1e9, 0.10) is None
    assert rates.refuse_rate(1.11e9, 1e9, 0.10) is not None
    assert rates.refuse_rate(99e9, None, None) is None


def test_a_case_that_did_not_end_well_keeps_no_rate() -> None:
    r = record(step_s=0.1, mfu=0.5, tokens_per_s=3.0, mfu_a100=0.1, outcome=Outcome.INVALID)
    r.withhold()
    assert {getattr(r, name) for name in RATES} == {None}


@given(
    st.lists(st.floats(1e-3, 10), min_size=4, max_size=30),
    st.floats(0.5, 2.0),
)
def test_a_common_factor_is_found_whatever_the_drift(base: list[float], factor: float) -> None:
    paired = paired_ratio([factor * b for b in base], base)
    assert paired.ratio == pytest.approx(factor)
    assert paired.low <= paired.ratio * (1 + 1e-9)
    assert paired.high >= paired.ratio * (1 - 1e-9)


def test_pairs_need_equal_counts_and_positive_times() -> None:
    with pytest.raises(ValueError, match="equal numbers"):
        paired_ratio([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="above zero"):
        paired_ratio([1.0, 0.0], [1.0, 1.0])
