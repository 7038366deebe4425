"""What people see: within 100 columns, nothing invented, time left that follows the run."""

from __future__ import annotations

from typing import Any

import pytest

from mfubench.report.answer import answers
from mfubench.report.table import render
from mfubench.results.outcomes import Outcome
from mfubench.results.record import CaseRecord
from mfubench.suite import progress as progress_module
from mfubench.suite.progress import Progress
from mfubench.suite.sweep import PLANS


def record(**fields: Any) -> CaseRecord:
    base: dict[str, Any] = {
        "case_id": "train-step/nanogpt-cpu/cpu-float32-b12-eager",
        "question": "train-step",
        "preset": "nanogpt-cpu",
        "device": "cpu",
        "dtype": "float32",
        "batch_size": 12,
        "compile": False,
        "outcome": Outcome.OK,
        "step_s": 0.04,
        "step_spread_ratio": 0.02,
        "tokens_per_s": 19200.0,
        "achieved_flops_per_s": 95e9,
        "peak_flops_per_s": 207e9,
        "peak_source": "derived",
        "ceiling_flops_per_s": 188e9,
        "ceiling_utilisation": 95 / 188,
        "mfu": 95 / 207,
        "mfu_a100": 95e9 / 312e12,
        "peak_memory_bytes": 50 * 2**20,
    }
    return CaseRecord(**{**base, **fields})


def test_nothing_is_wider_than_100_columns() -> None:
    long = "a reason that goes on and on, " * 20
    records = [
        record(
            preset="p" * 60, case_id="train-step/" + "p" * 60 + "/cuda:1-bfloat16-b100000-compiled"
        ),
        record(outcome=Outcome.OUT_OF_MEMORY, outcome_reason=long),
    ]
    text = render(records, notes=["a note that is long enough to be wrapped somewhere " * 5])
    assert max(map(len, text.splitlines())) <= 100


def test_a_path_in_a_note_stays_whole() -> None:
    path = "/a/" + "long/" * 40 + "0001_x.json"
    assert path in render([record()], notes=[f"saved in {path}"])


def test_unknown_values_are_dashes_and_not_zeros() -> None:
    text = render([record(mfu=None, peak_flops_per_s=None, peak_memory_bytes=None)])
    row = next(line for line in text.splitlines() if "b12-eager" in line)
    assert row.count("–") == 2
    assert "Its peak is not known" in " ".join(text.split())


def test_what_did_not_end_well_is_listed_with_its_reason_and_no_number() -> None:
    refused = record(outcome=Outcome.INVALID, outcome_reason="a zero time")
    refused.withhold()
    text = render([refused])
    assert "invalid" in text
    assert "a zero time" in text
    assert "19,200" not in text


def test_markup_in_a_reason_is_shown_and_not_obeyed() -> None:
    assert "[red]x[/red] :smile:" in render(
        [record(outcome=Outcome.ERROR, outcome_reason="[red]x[/red] :smile:")]
    )


def test_the_answer_is_about_the_case_nanogpt_ran() -> None:
    (text,) = answers(
        [record(batch_size=48, mfu_a100=0.5), record(), record(compile=True, mfu_a100=0.7)]
    )
    assert "batch 12, eager" in text
    assert "nanoGPT shows 0.03 % because it divides by an A100's peak." in text
    assert "50.5 % of the fastest float32 matrix product here" in text


class FakeScreen:
    is_terminal = True

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.transients: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def transient(self, text: str) -> None:
        self.transients.append(text)


def test_time_left_follows_how_long_cases_really_take(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress_module.time, "perf_counter", lambda: clock[0])
    screen = FakeScreen()
    progress = Progress(screen)
    progress.plan({"a": False, "b": False, "c": True}, PLANS["default"])
    progress.start("a")
    whole_s = progress.time_left_s()
    eager_s = (whole_s - progress_module.EXPECTED_COMPILE_S) / 3
    clock[0] = 2 * eager_s
    progress.finish("a", "done")
    assert progress.time_left_s() == pytest.approx(2 * (whole_s - eager_s))
    assert "[1/3] done · about 1 min" in screen.lines[0]
    progress.start("b")
    progress.phase("warming up")
    assert screen.transients[-1].startswith("  [2/3] warming up")
    progress.finish("b", "x")
    progress.start("c")
    progress.finish("c", "last")
    assert "left" not in screen.lines[-1]


def test_a_predicted_step_takes_the_place_of_the_budgets() -> None:
    progress = Progress(FakeScreen())
    progress.plan({"a": False, "slow": False}, PLANS["smoke"])
    guessed_s = progress.time_left_s()
    progress.plan({"a": False, "slow": False}, PLANS["smoke"], {"slow": 60.0})
    # Two steps of warm-up and five rounds, however short the budget.
    assert progress.time_left_s() == pytest.approx(guessed_s / 2 + 7 * 60 + 1)
    progress.plan({"a": False, "slow": False}, PLANS["smoke"], {"slow": 1e-4})
    # Rounds are 200 at the most, so that a fast step does not use up its budget.
    assert progress.time_left_s() == pytest.approx(guessed_s / 2 + 208 * 1e-4 + 1)


def test_off_a_terminal_there_are_lines_only() -> None:
    screen = FakeScreen()
    screen.is_terminal = False
    progress = Progress(screen)
    progress.plan({"a": False}, PLANS["smoke"])
    progress.start("a")
    progress.finish("a", "done")
    assert screen.transients == []
    assert len(screen.lines) == 1
