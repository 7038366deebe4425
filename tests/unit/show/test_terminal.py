"""What a terminal gets: colours when they are wanted, tables that fit, MFU always."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from mfubench.cli import main
from mfubench.report.answer import answers, next_step, verdicts
from mfubench.report.earlier import beside_earlier
from mfubench.report.references import (
    OUR_CPU_RUN,
    OUR_GPU_RUN,
    OUR_SMALL_GPU_RUN,
    REFERENCES,
    is_this_good,
)
from mfubench.report.table import render
from mfubench.results.read import read_result
from mfubench.results.record import CaseRecord
from mfubench.show.console import as_text
from mfubench.show.terminal import choose_color, has_color, width_of
from mfubench.show.units import format_share
from tests.unit.docs.pages import ROOT
from tests.unit.show.test_table_and_progress import record

REFERENCE = ROOT / OUR_CPU_RUN


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def automatic(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    choose_color("auto")
    yield
    choose_color("auto")


def stored() -> list[CaseRecord]:
    return [one for one, _ in read_result(REFERENCE).records]


def test_a_terminal_has_colours_and_a_pipe_has_none() -> None:
    assert has_color(Terminal())
    assert not has_color(io.StringIO())
    assert not has_color(None)


@pytest.mark.parametrize(
    ("name", "value", "terminal", "pipe"),
    [("NO_COLOR", "1", False, False), ("FORCE_COLOR", "1", True, True), ("TERM", "dumb", 0, 0)],
)
def test_the_environment_decides(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, terminal: bool, pipe: bool
) -> None:
    monkeypatch.setenv(name, value)
    assert (has_color(Terminal()), has_color(io.StringIO())) == (terminal, pipe)


def test_the_option_decides_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    choose_color("always")
    assert has_color(io.StringIO())
    choose_color("never")
    assert not has_color(Terminal())


@pytest.mark.parametrize(("given", "width"), [("80", 80), ("400", 100), ("7", 40), ("x", 100)])
def test_the_width_is_the_terminals_within_reason(
    monkeypatch: pytest.MonkeyPatch, given: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", given)
    assert width_of(io.StringIO()) == width


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_table_keeps_mfu_and_names_what_it_left_out(width: int) -> None:
    lines = render(stored(), width=width).splitlines()
    assert max(map(len, lines)) <= width
    head = next(line for line in lines if line.startswith("case"))
    assert "MFU" in head
    assert "ms/step" in head
    assert ("memory" in head) is (width == 100)
    told = [line for line in lines if line.startswith(f"Left out at {width} columns:")]
    assert bool(told) is (width < 100)
    row = next(line for line in lines if "cpu-float32-b48-compiled" in line)
    assert "51.9 %" in row, "a case on one line, its MFU in it"


@pytest.mark.parametrize("choice", ["always", "never"])
def test_show_obeys_the_option(choice: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(REFERENCE), "--color", choice]) == 0
    assert ("\x1b[" in capsys.readouterr().out) is (choice == "always")


def test_show_as_json_has_cases_and_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(REFERENCE), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert len(data["cases"]) == len(stored())
    assert data["answers"][0].startswith("Training uses 46.5 % of this CPU's peak.")
    assert data["next"].startswith("Next: mfubench ")


@pytest.mark.parametrize(
    ("source", "preset", "compiled"),
    [
        (OUR_CPU_RUN, "nanogpt-cpu", [False]),
        (OUR_SMALL_GPU_RUN, "nanogpt-cpu", [False, True]),
        (OUR_GPU_RUN, "gpt2", [True]),
    ],
)
def test_the_references_are_what_the_stored_runs_say(
    source: str, preset: str, compiled: list[bool]
) -> None:
    (ours,) = (one for one in REFERENCES if one.source == source)
    shares = [
        one.mfu or 0.0
        for one, _ in read_result(ROOT / source).records
        if (one.question, one.preset) == ("train-step", preset) and one.compile in compiled
    ]
    said = [format_share(ours.low), format_share(ours.high)]
    assert said == [format_share(min(shares)), format_share(max(shares))]


def test_other_references_have_an_address() -> None:
    ours = {OUR_CPU_RUN, OUR_GPU_RUN, OUR_SMALL_GPU_RUN}
    others = [one for one in REFERENCES if one.source not in ours]
    assert len(others) == 2
    assert all(one.source.startswith("https://") for one in others)


def test_an_unsteady_run_says_so_and_predicts_nothing() -> None:
    loop = {"question": "train-loop", "max_iters": 2000, "predicted_training_s": 86.0}
    shaky = [record(step_spread_ratio=1.47, steady=False, **loop)]
    (text,) = answers(shaky)
    assert "This run was unsteady: step times vary by 147 %." in text
    assert "Predicted" not in text
    assert verdicts(shaky) == []
    assert "measure again" in (next_step(shaky) or "")
    (steady,) = answers([record(steady=True, **loop)])
    assert "Predicted: 2000 iterations take about 1 min 26 s" in steady


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mfu": 0.2}, "It is below what others reach: nanogpt-cpu"),
        ({"mfu": 0.5}, "It is what others reach: nanogpt-cpu"),
        ({"mfu": 0.7}, "It is more than others reach"),
        ({"mfu": None}, "Without a peak"),
        ({"device": "cuda", "mfu": 0.001}, "cannot fill a GPU: nanogpt-cpu"),
        ({"device": "cuda", "mfu": 0.001, "tokens_per_step": 64}, "so no figure of others"),
        ({"device": "cuda", "mfu": 0.38, "tokens_per_step": 5}, "what others reach: GPT-2 124 M"),
        ({"device": "cuda", "mfu": 0.1, "tokens_per_step": None}, "It is below what others reach"),
    ],
)
def test_good_is_said_beside_figures_of_others(fields: dict[str, Any], words: str) -> None:
    sizes = {"model_flops_per_step": 3_800_000_000, "tokens_per_step": 768}
    asked = record(**(sizes | fields))
    assert words in is_this_good(asked)


def ceiling(rate: float, shape: list[int]) -> CaseRecord:
    return CaseRecord(
        case_id="ceiling/gemm/cpu-float32",
        question="ceiling",
        device="cpu",
        outcome=record().outcome,
        ceiling_kind="gemm",
        ceiling_unit="FLOP",
        ceiling_rate_per_s=rate,
        ceiling_noise_ratio=0.01,
        shape_mnk=shape,
    )


def test_an_earlier_run_is_shown_beside_by_matching_work_only() -> None:
    before = [ceiling(188e9, [512] * 3), record(step_s=0.040), record(case_id="x/y/z")]
    now = [ceiling(94e9, [512] * 3), record(step_s=0.042), record(case_id="train-step/a/new")]
    text = as_text(*beside_earlier(now, before, "0001_x.json", width=80), width=80)
    assert max(map(len, text.splitlines())) <= 80
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith("  ")}
    assert lines["gemm/cpu-float32"][5:8] == ["50.0", "%", "slower"]
    assert lines["cpu-float32-b12-eager"][5:8] == ["5.0", "%", "slower"]
    assert "Not compared (not in the earlier run): train-step/a/new" in text
    other = [ceiling(94e9, [512, 512, 1024])]
    assert "Not compared (another matrix shape was fastest): ceiling/gemm" in as_text(
        *beside_earlier(other, before, "0001_x.json", width=80), width=80
    )


def test_a_change_within_the_spread_is_unclear() -> None:
    parts = beside_earlier([record(step_s=0.0404)], [record()], "0001_x.json", width=80)
    assert "unclear" in as_text(*parts, width=80)
