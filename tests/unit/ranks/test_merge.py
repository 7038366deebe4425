"""Records of one script's ranks become one record."""

from __future__ import annotations

import resource
import sys
from typing import Any

import msgspec
import numpy as np
import pytest

from mfubench.ranks.rules.merge import RankRun, merged
from mfubench.results.outcomes import Outcome
from mfubench.results.record import CaseRecord
from mfubench.script.naming import case_name
from mfubench.script.text import run_text


def run_of(rank: int, *, late_s: float = 0.0, steps: int = 100, **info: Any) -> RankRun:
    """A rank's run of 0.1 s per step, of which 0.04 s is no backward pass."""
    rng = np.random.default_rng(rank)
    record = CaseRecord(
        case_id=f"script/train.py-rank{rank}of4/cpu-float32-eager",
        question="script",
        preset=f"train.py-rank{rank}of4",
        device="cpu",
        dtype="float32",
        compile=False,
        threads=1,
        outcome=Outcome.OK,
        step_s=0.1,
        rounds=steps,
        tokens_per_step=100 + rank,
        model_flops_per_step=10**15 + rank,
        flops_forward=10**14 + rank,
        peak_memory_bytes=1000 + rank,
        loop_s=10.0,
        steps_seen=steps,
        boundary="AdamW.step",
        loader_wait_s=0.0,
        evaluation_total_s=0.0,
        checkpoint_total_s=0.0,
        warmup_steps=1,
        warmup_s=0.1,
        loss=2.0 + rank,
        peak_flops_per_s=1e16,
        peak_source="made up",
        rank=rank,
        ranks=4,
    )
    for name, value in info.items():
        setattr(record, name, value)
    return RankRun(
        rank=rank,
        host_key=f"host-{rank // 8}",
        info=record.as_extra_info(),
        rounds_s=(0.1 + 0.001 * rng.standard_normal(steps)).tolist(),
        outside_backward_s=(0.04 + late_s + 0.002 * rng.standard_normal(steps)).tolist(),
    )


def test_what_ranks_do_together_is_added_up_exactly() -> None:
    record, rounds_s = merged([run_of(rank) for rank in range(4)], 4, "train.py-4ranks")
    assert record.case_id == "script/train.py-4ranks/cpu-float32-eager"
    assert record.model_flops_per_step == 4 * 10**15 + 6
    assert record.flops_forward == 4 * 10**14 + 6
    assert record.tokens_per_step == 406
    assert record.step_s == pytest.approx(np.median(rounds_s))
    assert record.achieved_flops_per_s == pytest.approx((4 * 10**15 + 6) / record.step_s)
    assert record.mfu == pytest.approx(record.achieved_flops_per_s / 1e16)
    assert [one.rank for one in record.per_rank or ()] == [0, 1, 2, 3]
    assert (record.ranks, record.rank) == (4, None)
    assert record.loss == 3.5
    CaseRecord.from_data(record.as_extra_info())


def test_a_missing_rank_is_named_and_nothing_is_added_up() -> None:
    record, rounds_s = merged([run_of(rank) for rank in (0, 1, 3)], 4, "train.py-4ranks")
    assert record.outcome is Outcome.ERROR
    assert "rank 2 of 4 handed in nothing" in (record.outcome_reason or "")
    assert (record.step_s, record.tokens_per_s, rounds_s) == (None, None, [])
    assert [one.rank for one in record.per_rank or ()] == [0, 1, 3]


def test_a_rank_whose_run_is_worth_nothing_is_named() -> None:
    bad = run_of(1, outcome=Outcome.INVALID, outcome_reason="the loss is nan", step_s=None)
    record, _ = merged([run_of(0), bad], 2, "train.py-2ranks")
    assert record.outcome is Outcome.INVALID
    assert record.outcome_reason == "rank 1: the loss is nan"


def test_unknown_tokens_of_one_rank_are_unknown_of_all() -> None:
    record, _ = merged([run_of(0), run_of(1, tokens_per_step=None)], 2, "train.py-2ranks")
    assert record.tokens_per_step is None
    assert record.model_flops_per_step == 2 * 10**15 + 1


def test_the_rank_that_the_others_wait_for_is_named() -> None:
    runs = [run_of(rank, late_s=0.01 * (rank == 2)) for rank in range(4)]
    record, _ = merged(runs, 4, "train.py-4ranks")
    assert record.slow_rank == 2
    assert "rank 2 needs" in (record.slow_rank_because or "")
    assert "Slow: rank 2" in run_text(record, color=False)


def test_nobody_is_named_where_all_are_alike() -> None:
    record, _ = merged([run_of(rank) for rank in range(4)], 4, "train.py-4ranks")
    assert record.slow_rank is None


@pytest.mark.skipif(sys.platform == "win32", reason="resource is of Unix")
def test_64_ranks_of_1000_steps_need_little_memory() -> None:
    """Merged and shown, as rank 0 gets them: 500 MB is what the whole process may take."""
    data = [msgspec.json.encode(run_of(rank, steps=1000)) for rank in range(64)]
    runs = [msgspec.json.decode(one, type=RankRun) for one in data]
    record, rounds_s = merged(runs, 64, "train.py-64ranks")
    assert len(rounds_s) == 1000
    assert "64 ranks" in run_text(record, color=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    runs = [msgspec.json.decode(one, type=RankRun) for one in data]
    merged(runs, 64, "train.py-64ranks")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * (1 if sys.platform == "darwin" else 1024) < 100e6


def test_the_name_says_how_many() -> None:
    assert case_name("train.py", ["train.py", "--lr", "1"], ranks=8).startswith("train.py-8ranks-")
