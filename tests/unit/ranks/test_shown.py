"""A case on ranks in the terminal, on the page and in the frame, from records without a clock."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from mfubench.hardware.devices import parse_device
from mfubench.ranks.measure.agent import what_failed
from mfubench.ranks.measure.case import recorded, refusal, too_many
from mfubench.ranks.measure.rank_program import Failure
from mfubench.ranks.rules.config import RanksConfig
from mfubench.ranks.rules.turns import RankReport
from mfubench.ranks.show.section import ranks_section
from mfubench.ranks.show.text import losses, ranks_text, step_bars
from mfubench.results.collect import collect
from mfubench.results.frame import load
from mfubench.results.outcomes import Outcome
from mfubench.results.read import read_result
from mfubench.results.record import CaseRecord
from mfubench.results.schema import problems
from mfubench.results.single import result_data
from mfubench.show.blocks import Table
from tests.unit.ranks.made_up_ranks import made_up


def config(**settings: object) -> RanksConfig:
    given = {
        "preset": "nanogpt-cpu",
        "device": "cpu",
        "dtype": "float32",
        "batch_size": 12,
        **settings,
    }
    return msgspec.convert(given, RanksConfig)


def record_of(ranks: int = 2, **settings: object) -> CaseRecord:
    reports = made_up(0, ranks=ranks)
    return recorded(
        config(**settings), ranks, reports, parse_device("cpu"), reason=None, outcome="error"
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    for ranks in (2, 4):
        record = record_of(ranks)
        rounds_s = (record.per_rank or [])[0].rounds_s
        data = result_data(
            record, rounds_s, started_at_s=0.0, device={}, complete=True, test="test_ranks"
        )
        (tmp_path / f"000{ranks}_x.json").write_text(json.dumps(data), encoding="utf-8")
    return tmp_path


def test_a_result_file_is_valid_and_has_the_keys(saved: Path) -> None:
    data = json.loads((saved / "0002_x.json").read_text(encoding="utf-8"))
    assert problems(data) == []
    info = data["benchmarks"][0]["extra_info"]
    wanted = {"ranks", "strategy", "scaling", "efficiency", "contention", "skew", "per_rank"}
    assert wanted | {"communication_exposed", "slow_rank"} <= info.keys()
    assert info["slow_rank"] is None
    ((again, _),) = read_result(saved / "0002_x.json").records
    assert again.efficiency == record_of(2).efficiency


def test_the_terminal_says_what_ranks_bring_and_that_it_is_a_test() -> None:
    text = ranks_text(record_of(), "saved", color=False, width=100)
    flat = " ".join(text.split())
    assert "On 2 ranks you get 1.5" in flat
    assert "this tests the mechanism and says nothing of scaling" in flat
    assert "No rank is certainly slow." in flat


@pytest.mark.parametrize("width", [40, 80, 100])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    text = ranks_text(record_of(8), "saved", color=False, width=width)
    assert max(map(len, text.splitlines())) <= width


def test_what_is_lost_adds_up_to_what_is_missing() -> None:
    record = record_of(4)
    assert record.efficiency is not None
    assert sum(lost for _, lost in losses(record)) == pytest.approx(4 - 4 * record.efficiency.value)
    assert sum(seconds for _, seconds in step_bars(record)) == pytest.approx(record.step_s)


def test_the_page_has_a_curve_ranks_side_by_side_and_a_step(saved: Path) -> None:
    section = ranks_section(collect([saved]))
    assert section is not None
    keys = {block.key for block in section.blocks if hasattr(block, "key")}
    assert keys == {"ranks-0", "ranks-step-0"}
    (parts,) = [b for b in section.blocks if isinstance(b, Table) and "Parts" in b.name]
    assert [row[0].text for row in parts.rows] == ["2", "4"]


def test_the_frame_has_a_row_per_case_with_the_parts_in_columns(saved: Path) -> None:
    frame = load(saved)
    assert sorted(frame["ranks"]) == [2, 4]
    for name in ("efficiency", "contention", "communication_exposed", "skew"):
        assert (frame[name] > 0).all()
        assert (frame[f"{name}_low"] <= frame[name]).all()
        assert (frame[f"{name}_high"] >= frame[name]).all()


def test_flops_and_tokens_are_of_all_ranks_together() -> None:
    record = record_of(4)
    assert record.model_flops_per_step == sum(1000 + rank for rank in range(4))
    assert record.tokens_per_step == 4 * 12 * 64


def test_a_case_that_broke_off_keeps_what_each_rank_had() -> None:
    record = recorded(
        config(),
        3,
        made_up(0, ranks=2),
        parse_device("cpu"),
        reason="rank 2 was killed",
        outcome="error",
    )
    assert (record.outcome, record.step_s) == (Outcome.ERROR, None)
    assert [one.rank for one in record.per_rank or ()] == [0, 1]
    assert all(one.alone_s for one in record.per_rank or ())
    assert "rank 2 was killed" in ranks_text(record, "saved", color=False, width=100)


def test_ranks_that_learnt_apart_are_refused() -> None:
    reports = made_up(0)
    reports[1].checksum = "other"
    record = recorded(config(), 2, reports, parse_device("cpu"), reason=None, outcome="error")
    assert record.outcome is Outcome.INVALID
    assert "different parameters" in (record.outcome_reason or "")


def test_what_cannot_be_is_refused_before_it_starts() -> None:
    assert "cannot be shared out evenly" in (refusal(config(scaling="strong"), 5) or "")
    assert "float16" in (refusal(config(strategy="fsdp2", dtype="float16"), 2) or "")
    assert refusal(config(scaling="strong"), 4) is None
    assert "processors, and this machine has" in (too_many(config(), 60000) or "")


def told(sentence: str, at_s: float, **how: bool) -> Failure:
    return Failure(sentence=sentence, outcome="error", at_s=at_s, **how)


def test_the_first_cause_is_told(tmp_path: Path) -> None:
    lost = told("rank 1 stopped answering", 2.0, is_another_ranks=True)
    hang = told("rank 1 hangs at cycle 2", 2.0, is_another_ranks=True, is_a_hang=True)
    own = told("rank 1 failed", 1.0)
    killed, ended = [{"rank": 1, "status": -9}], [{"rank": 0, "status": -15}]
    reports = [RankReport(rank=1, host_key="a", doing="cycle 2")]

    def why(failures: list[dict[str, int]], words: dict[int, Failure]) -> str | None:
        return what_failed(failures, words, reports, tmp_path)[1]

    assert why([], {}) is None
    assert "rank 1 was killed by SIGKILL in cycle 2" in (why(killed, {0: lost}) or "")
    assert why(killed, {0: hang}) == "rank 1 hangs at cycle 2"
    assert why(ended, {0: lost, 1: own}) == "rank 1 failed"
    assert why(ended, {0: lost}) == "rank 1 stopped answering"
