"""The account, the slow rank and the merging, on records that nobody measured."""

from __future__ import annotations

import math
from statistics import fmean

import pytest

from mfubench.ranks.rules.account import LEAST_CYCLES, account_of, waits_of
from mfubench.ranks.rules.answer import fill_answer, fill_per_rank
from mfubench.ranks.rules.slow import by_host, cycles_needed, lateness, slowest
from mfubench.ranks.rules.turns import RankReport, RanksError, Turn, refuse_missing
from mfubench.results.record import CaseRecord
from tests.unit.ranks.made_up_ranks import ALONE_S, made_up

TRIALS = 200


def truth(contention: float, exposed_s: float, late_s: float) -> dict[str, float]:
    """Of two ranks without jitter, rank 1 late."""
    beside = ALONE_S / contention + late_s / 2
    training = ALONE_S / contention + late_s + exposed_s
    alone = ALONE_S + late_s / 2
    return {
        "efficiency": alone / beside * beside / training,
        "contention": alone / beside,
        "communication_exposed": beside / (training - late_s / 2),
        "skew": (training - late_s / 2) / training,
    }


@pytest.mark.parametrize("late_s", [0.0, 0.03])
def test_without_noise_every_part_is_the_truth(late_s: float) -> None:
    account = account_of(made_up(0, jitter=0.0, late_s={1: late_s}))
    wanted = truth(0.9, 0.02, late_s)
    for name in ("communication_exposed", "skew"):
        assert getattr(account, name).value == pytest.approx(wanted[name], rel=1e-9)
    assert account.waiting.value == pytest.approx(late_s / 2, abs=1e-12)
    assert account.exposed.value == pytest.approx(0.02 + late_s / 2 - late_s / 2, abs=1e-9)


def test_the_product_is_the_efficiency_whatever_was_measured() -> None:
    for seed in range(50):
        account = account_of(made_up(seed, jitter=0.2, busy=0.2))
        parts = (account.contention, account.communication_exposed, account.skew)
        product = math.prod(part.value for part in parts)
        assert product == pytest.approx(account.efficiency.value, rel=1e-12)
        for part in (*parts, account.efficiency):
            assert part.low <= part.value <= part.high


@pytest.mark.parametrize("name", ["contention", "efficiency"])
def test_an_interval_holds_the_truth_as_often_as_it_says(name: str) -> None:
    """95 % of 200 trials; fewer than 180 would come once in 10,000 of such tests."""
    wanted = truth(0.9, 0.02, 0.0)
    if name == "efficiency":  # the slowest of two with jitter, by simulation of many cycles
        long = account_of(made_up(10**6, cycles=600, jitter=0.02))
        wanted["efficiency"] = long.efficiency.value
    held = 0
    for seed in range(TRIALS):
        found = getattr(account_of(made_up(seed, jitter=0.02)), name)
        held += found.low <= wanted[name] <= found.high
    assert held >= 180


def test_strong_scaling_has_the_smaller_batch_as_a_part() -> None:
    reports = made_up(1, jitter=0.0, whole_s=0.18, exposed_s=0.0, contention=1.0)
    account = account_of(reports, scaling="strong")
    assert account.smaller_batch is not None
    assert account.smaller_batch.value == pytest.approx(0.9)
    assert account.efficiency.value == pytest.approx(0.9)


def test_clocks_that_differ_change_nothing() -> None:
    same, ahead = made_up(3), made_up(3, offset_s=12.5)
    for one, other in zip(waits_of(same, 4) or [], waits_of(ahead, 4) or [], strict=True):
        assert one == pytest.approx(other, abs=1e-9)
    assert lateness(same)[1] == pytest.approx(lateness(ahead)[1], abs=1e-9)


def test_the_longest_wait_is_the_earliest_ranks() -> None:
    waits = waits_of(made_up(5, late_s={1: 0.05}, jitter=0.0), 0)
    assert waits is not None
    assert [round(fmean(one), 6) for one in waits] == [0.05, 0.0]


@pytest.mark.parametrize("ranks", [2, 8])
def test_a_rank_that_sleeps_is_named_in_nearly_all_trials(ranks: int) -> None:
    named = 0
    for seed in range(TRIALS):
        late = slowest(lateness(made_up(seed, ranks=ranks, late_s={1: 0.01}, jitter=0.03)))
        named += late is not None and late.name == 1
    assert named >= 0.95 * TRIALS


@pytest.mark.parametrize("ranks", [2, 8, 64])
def test_no_rank_is_named_where_all_are_alike(ranks: int) -> None:
    """Family-wise: at most 5 % of runs name any rank, however many there are."""
    trials = 40 if ranks == 64 else TRIALS
    named = 0
    for seed in range(trials):
        reports = made_up(seed, ranks=ranks, jitter=0.05, busy=0.1, cycles=12)
        named += slowest(lateness(reports)) is not None
    assert named <= 0.05 * trials


def test_at_the_edge_of_what_is_worth_a_name_few_are_named() -> None:
    """A rank that is late by exactly 2 % of a step: the hypothesis itself, tested at 2.5 %."""
    named = 0
    for seed in range(TRIALS):
        step_s = ALONE_S / 0.9 + 0.02
        reports = made_up(seed, late_s={1: 0.02 * step_s / 0.98}, jitter=0.02)
        named += slowest(lateness(reports)) is not None
    assert named <= 0.06 * TRIALS


def test_too_few_cycles_name_nobody() -> None:
    few = cycles_needed(64) - 1
    assert slowest(dict.fromkeys(range(64), [0.5] * few)) is None


def test_a_slow_host_is_named_by_its_ranks() -> None:
    reports = made_up(7, ranks=16, late_s=dict.fromkeys(range(8, 16), 0.02))
    late = by_host(lateness(reports), {rank: rank // 8 for rank in range(16)})
    found = slowest(late)
    assert found is not None
    assert found.name == 1


def test_a_missing_rank_is_never_averaged_away() -> None:
    reports = made_up(0, ranks=4)
    record = CaseRecord(case_id="x", question="ranks", device="cpu", ranks=4, strategy="ddp")
    with pytest.raises(RanksError, match="rank 2 of 4 handed in nothing"):
        fill_answer(record, [r for r in reports if r.rank != 2])
    assert record.efficiency is None


def test_a_cycle_that_one_rank_did_not_finish_counts_for_none() -> None:
    reports = made_up(0, cycles=LEAST_CYCLES)
    reports[1].turns = [t for t in reports[1].turns if t.cycle != 3]
    with pytest.raises(RanksError, match=f"{LEAST_CYCLES - 1} cycles"):
        account_of(reports)


def test_flops_over_ranks_add_up_exactly() -> None:
    reports = made_up(0, ranks=3)
    record = CaseRecord(case_id="x", question="ranks", device="cpu", ranks=3, strategy="ddp")
    fill_per_rank(record, reports)
    assert [one.model_flops_per_step for one in record.per_rank or ()] == [1000, 1001, 1002]


def test_ranks_without_arrivals_wait_by_their_silent_steps() -> None:
    reports = [
        RankReport(
            rank=rank,
            host_key="a",
            turns=[
                Turn(kind="silent", cycle=0, steps_s=[0.1 + 0.02 * rank]),
                Turn(kind="training", cycle=0, steps_s=[0.2]),
            ],
        )
        for rank in range(2)
    ]
    assert waits_of(reports, 0) == [[pytest.approx(0.02)], [0.0]]


def test_all_ranks_are_asked_for() -> None:
    refuse_missing(made_up(0, ranks=3), 3)
    with pytest.raises(RanksError, match=r"ranks 1 and 2 of 3"):
        refuse_missing(made_up(0, ranks=1), 3)
