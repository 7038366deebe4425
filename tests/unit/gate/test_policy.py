"""Verdicts: each one on both sides of its rule."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mfubench.gate.rules import policy
from mfubench.gate.rules.limits import Limits, limits_for
from mfubench.gate.rules.policy import (
    GRAPHS,
    IMPROVED,
    INCONCLUSIVE,
    LOSS,
    MEMORY,
    PASS,
    REGRESSED,
    CasePairs,
    Judged,
)

LIMITS = Limits()
QUIET = [0.0] * 10


def logs(percent: float, sd: float = 0.003, *, seed: int = 0, n: int = 10) -> list[float]:
    spread = np.random.default_rng(seed).normal(size=n)
    return [math.log1p(percent / 100) + sd * x for x in spread - np.mean(spread)]


def judge(
    step: list[float],
    again: list[float] | None = None,
    *,
    control: list[float] = QUIET,
    limits: Limits = LIMITS,
    **counted: tuple[float, float],
) -> list[Judged]:
    fresh = None if again is None else CasePairs(step=again, control=QUIET)
    first = CasePairs(step=step, control=control, counted=counted)
    return policy.judge_case(first, limits, family=9, confirmation=fresh)


def step_verdict(*arguments: list[float], **settings: list[float]) -> str:
    return judge(*arguments, **settings)[0].verdict


def test_a_slow_down_needs_a_fresh_batch_to_be_a_regression() -> None:
    (first,) = judge(logs(5))
    assert first.needs_confirmation
    assert first.verdict != REGRESSED
    assert step_verdict(logs(5), logs(5, seed=1)) == REGRESSED
    (open_again,) = judge(logs(5), logs(0, seed=1))
    assert open_again.verdict != REGRESSED
    assert open_again.reason == "slower in the first batch of pairs, not in the second"


@pytest.mark.parametrize(
    ("percent", "verdict"),
    [(0, PASS), (0.8, PASS), (3, REGRESSED), (10, REGRESSED), (-3, IMPROVED)],
)
def test_quiet_pairs(percent: float, verdict: str) -> None:
    assert step_verdict(logs(percent), logs(percent, seed=1)) == verdict


def test_changes_right_at_the_floor_make_at_most_one_gate_in_a_hundred_red() -> None:
    """What screening at 20 % and confirming at 5 % promise, both family-wise over eight cases."""
    rng = np.random.default_rng(5)
    gates, red = 1200, 0
    for _ in range(gates):
        batches = math.log1p(LIMITS.floor) + 0.02 * rng.standard_normal((8, 2, 10))
        cases = [[CasePairs(step=list(b), control=QUIET) for b in case] for case in batches]
        found = [policy.judge_case(first, LIMITS, family=8)[0] for first, _ in cases]
        flagged = [case for case, one in zip(cases, found, strict=True) if one.needs_confirmation]
        for first, again in flagged:
            (judged,) = policy.judge_case(
                first, LIMITS, family=8, confirmation=again, flagged=len(flagged)
            )
            red += judged.verdict == REGRESSED
    # Three standard deviations above 1 %; and the rule is no stricter than it says.
    assert 0 < red <= 12 + 3 * math.sqrt(12)


def test_noise_is_neither_a_pass_nor_a_regression() -> None:
    (judged,) = judge(logs(2, sd=0.08))
    assert judged.verdict == INCONCLUSIVE
    assert "more pairs would tell" in (judged.reason or "")
    assert not judged.needs_confirmation


def test_few_pairs_pass_nothing() -> None:
    (judged,) = judge(logs(0, n=5))
    assert judged.verdict == INCONCLUSIVE
    assert judged.reason == "5 pairs; 6 are needed"


def test_without_a_change_false_alarms_are_rare() -> None:
    alarms = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        first, again = (list(rng.standard_t(3, 10) * 0.01) for _ in range(2))
        alarms += step_verdict(first, again) == REGRESSED
    assert alarms == 0


def test_a_machine_that_favours_one_side_spoils_the_verdict() -> None:
    (judged,) = judge(logs(20), logs(20, seed=1), control=logs(15))
    assert judged.verdict == INCONCLUSIVE
    assert judged.reason == "an unchanged kernel beside it moved by +15.0 %"


@pytest.mark.parametrize(
    ("metric", "pair", "verdict"),
    [
        (MEMORY, (100.0, 105.0), REGRESSED),
        (MEMORY, (100.0, 101.0), PASS),
        (MEMORY, (100.0, 80.0), IMPROVED),
        (GRAPHS, (1.0, 1.0), PASS),
        (GRAPHS, (1.0, 3.0), REGRESSED),
        (GRAPHS, (1.0, 0.0), REGRESSED),
        (GRAPHS, (0.0, 0.0), PASS),
        (GRAPHS, (0.0, 2.0), REGRESSED),
        (LOSS, (3.60, 3.601), PASS),
        (LOSS, (3.60, 3.70), REGRESSED),
        (LOSS, (3.60, 3.50), REGRESSED),
        (LOSS, (3.60, float("nan")), REGRESSED),
    ],
)
def test_what_is_counted(metric: str, pair: tuple[float, float], verdict: str) -> None:
    judged = judge(QUIET, **{metric: pair})[-1]
    assert (judged.metric, judged.verdict) == (metric, verdict)


def test_the_worst_verdict_counts_and_nothing_is_no_pass() -> None:
    assert policy.worst([PASS, REGRESSED, INCONCLUSIVE]) == REGRESSED
    assert policy.worst([IMPROVED, PASS]) == IMPROVED
    assert policy.worst([]) == INCONCLUSIVE
    assert policy.EXIT_STATUS == {PASS: 0, IMPROVED: 0, REGRESSED: 1, INCONCLUSIVE: 2}


def test_a_higher_tolerance_of_a_case_lets_it_pass() -> None:
    noisy = logs(2, sd=0.06)
    table = {"cases": {"train-loop/*": {"tolerance": 0.20}}}
    strict = judge(noisy, limits=limits_for("train-step/x", table))[0]
    lax = judge(noisy, limits=limits_for("train-loop/x", table))[0]
    assert (strict.verdict, lax.verdict) == (INCONCLUSIVE, PASS)
