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
    SLOWER,
    CasePairs,
    Judged,
)

LIMITS = Limits()
QUIET = [0.0] * 30


def logs(percent: float, sd: float = 0.003, *, seed: int = 0, n: int = 10) -> list[float]:
    spread = np.random.default_rng(seed).normal(size=n)
    return [math.log1p(percent / 100) + sd * x for x in spread - np.mean(spread)]


def judge(
    step: list[float],
    *,
    control: list[float] | None = None,
    limits: Limits = LIMITS,
    **counted: tuple[float, float],
) -> list[Judged]:
    """At the look that so many pairs make; the last one is after thirty."""
    case = CasePairs(step=step, control=control or [0.0] * len(step), counted=counted)
    looks = [look for look in policy.looks_of(10) if look < len(step)] + [len(step)]
    return policy.judge_case(case, limits, family=9, looks=looks, most=30)


def step_verdict(step: list[float], **settings: list[float]) -> str:
    return judge(step, **settings)[0].verdict


def printed(one: Judged) -> tuple[float, float]:
    assert one.low is not None
    assert one.high is not None
    return one.low, one.high


@pytest.mark.parametrize(
    ("percent", "verdict"),
    [(0, PASS), (0.8, PASS), (3, SLOWER), (10, REGRESSED), (-3, IMPROVED)],
)
def test_quiet_pairs(percent: float, verdict: str) -> None:
    assert step_verdict(logs(percent)) == verdict


def test_what_is_certainly_above_the_floor_and_maybe_above_the_tolerance_is_red() -> None:
    (judged,) = judge(logs(4.6, sd=0.006))
    assert judged.verdict == REGRESSED
    assert judged.is_open  # more pairs may say that it is within the tolerance


def test_a_printed_interval_wholly_above_the_floor_never_reads_pass() -> None:
    """Whatever the noise, the change and the number of pairs: the interval is the verdict."""
    rng, seen = np.random.default_rng(3), set()
    for _ in range(600):
        change, sd = rng.choice([0, 0.01, 0.02, 0.03, 0.06, -0.03]), rng.choice([0.003, 0.01, 0.03])
        step = list(change + sd * rng.standard_normal(rng.choice([6, 10, 18, 30])))
        (one,) = judge(step)
        low, high = printed(one)
        seen.add(one.verdict)
        if low > LIMITS.floor:
            assert one.verdict == (SLOWER if high < LIMITS.tolerance else REGRESSED)
        elif high < -LIMITS.floor:
            assert one.verdict == IMPROVED
        else:
            assert one.verdict == (PASS if high < LIMITS.tolerance else INCONCLUSIVE)
    assert seen == {PASS, IMPROVED, SLOWER, REGRESSED, INCONCLUSIVE}


def whole_gate(changes: np.ndarray) -> bool:
    """Whether a gate is red that looks at its pairs as a gate does; a row per case."""
    looks = policy.looks_of(10)
    for step in changes:
        for number, look in enumerate(looks, 1):
            case = CasePairs(step=list(step[:look]), control=QUIET[:look])
            (one,) = policy.judge_case(
                case, LIMITS, family=len(changes), looks=looks[:number], most=looks[-1]
            )
            if not one.is_open:
                break
        if one.verdict in (REGRESSED, SLOWER):
            return True
    return False


def test_changes_right_at_the_floor_make_at_most_five_gates_in_a_hundred_red() -> None:
    """What the levels promise, family-wise over eight cases and over all looks."""
    rng, gates = np.random.default_rng(5), 150
    floor = math.log1p(LIMITS.floor)
    red = sum(whole_gate(floor + 0.02 * rng.standard_normal((8, 30))) for _ in range(gates))
    # Three standard deviations above 5 %; and the rule is no stricter than it says.
    assert 0 < red <= 0.05 * gates + 3 * math.sqrt(0.05 * 0.95 * gates)


def test_three_per_cent_is_seen_through_a_spread_of_two() -> None:
    rng = np.random.default_rng(6)
    seen = [whole_gate(0.03 + 0.02 * rng.standard_normal((1, 30))) for _ in range(60)]
    assert sum(seen) >= 57


def test_noise_is_neither_a_pass_nor_a_regression() -> None:
    (judged,) = judge(logs(2, sd=0.08))
    assert judged.verdict == INCONCLUSIVE
    assert "try a machine at rest" in (judged.reason or "")
    assert judged.is_open


def test_few_pairs_pass_nothing() -> None:
    (judged,) = judge(logs(0, n=3))
    assert judged.verdict == INCONCLUSIVE
    assert judged.reason == "3 whole pairs; 4 are needed"


def test_without_a_change_false_alarms_are_rare() -> None:
    rng = np.random.default_rng(7)
    assert not any(whole_gate(rng.standard_t(3, (8, 30)) * 0.01) for _ in range(60))


def test_a_machine_that_favours_one_side_spoils_the_verdict() -> None:
    (judged,) = judge(logs(20), control=logs(15))
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
    assert policy.worst([SLOWER, INCONCLUSIVE]) == SLOWER
    assert policy.worst([SLOWER, INCONCLUSIVE], slower_fails=False) == INCONCLUSIVE
    statuses = [policy.exit_status(v) for v in (PASS, IMPROVED, REGRESSED, SLOWER, INCONCLUSIVE)]
    assert statuses == [0, 0, 1, 1, 2]


def test_a_higher_tolerance_of_a_case_lets_it_pass() -> None:
    noisy = logs(2, sd=0.06)
    table = {"cases": {"train-loop/*": {"tolerance": 0.20}}}
    strict = judge(noisy, limits=limits_for("train-step/x", table))[0]
    lax = judge(noisy, limits=limits_for("train-loop/x", table))[0]
    assert (strict.verdict, lax.verdict) == (INCONCLUSIVE, PASS)


@pytest.mark.parametrize(("percent", "verdict"), [(5, PASS), (15, SLOWER), (40, REGRESSED)])
def test_a_start_up_that_is_clear_asks_for_no_more_pairs(percent: float, verdict: str) -> None:
    case = CasePairs(step=logs(0), control=[0.0] * 10, start_up=logs(percent, sd=0.03))
    _, start_up = policy.judge_case(case, LIMITS, family=2, looks=[6, 10], most=30)
    low, high = printed(start_up)
    assert low < 0.0625 < high or verdict != PASS  # it may be above its floor, and looks like it
    assert (start_up.verdict, start_up.is_open) == (verdict, False)
