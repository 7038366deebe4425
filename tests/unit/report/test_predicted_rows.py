"""Rows of the page for devices that were not measured: asked for by name and marked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mfubench.cli import main
from mfubench.hardware.fingerprint import fingerprint
from mfubench.predict.elsewhere import known_device, known_here
from mfubench.predict.machine import PROBE, UnknownMachineError, threads_of
from mfubench.report.bodies import BODIES
from mfubench.report.build import build_report
from mfubench.results import document
from mfubench.results.collect import collect
from mfubench.show.blocks import Cell, Table, every_block
from tests.unit.predict.made_up_machine import ANCHORS, MadeUp
from tests.unit.report.example_results import reference, save

CARD = "NVIDIA GeForce RTX 4070 Ti"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """One machine's run, and a probe of this machine."""
    save(tmp_path, "0001_x.json", reference())
    document.save(PROBE, MadeUp().probe(ANCHORS, threads=threads_of(None)), tmp_path)
    return tmp_path


def rows(results: Path, *names: str) -> Sequence[Sequence[Cell]]:
    asked = [known_device(name, results) for name in names]
    report = build_report(collect([results], BODIES), asked)
    section = next(section for section in report.sections if section.key == "machines")
    tables = (block for block in every_block(section.blocks) if isinstance(block, Table))
    return next(table.rows for table in tables if table.name == "Machines")


def test_without_the_option_one_machine_has_no_table(results: Path) -> None:
    report = build_report(collect([results], BODIES))
    assert "machines" not in [section.key for section in report.sections]


def test_each_device_has_a_marked_row_with_its_grade_and_interval(results: Path) -> None:
    measured, card, here = rows(results, CARD, "here")
    assert "predicted" not in measured[0].note
    assert (card[0].text, card[0].note) == (CARD, "predicted, grade table")
    assert card[1].note == "bfloat16, batch 12, compiled"
    assert (here[0].text, here[0].note) == ("made up", "predicted, grade anchored")
    assert here[1].note == "float32, batch 12, eager"
    for row in (card, here):
        assert row[2].value is None, "nobody measured its limit"
        assert row[3].note.startswith("predicted; ")
        assert row[4].note.startswith("predicted, of ")
        iterations, _, interval = row[5].note.partition("; ")
        assert iterations == "2,000 iterations"
        assert " to " in interval
        assert row[5].value is not None


def test_what_does_not_fit_says_so_in_place_of_numbers(results: Path) -> None:
    data = reference()
    for benchmark in data["benchmarks"]:
        if benchmark["extra_info"].get("preset") == "nanogpt-cpu":
            benchmark["extra_info"]["preset"] = "gpt2"
    save(results, "0001_x.json", data)
    row = rows(results, "NVIDIA GeForce RTX 4060")[-1]
    assert row[1].text == "gpt2"
    assert [cell.value for cell in row] == [None] * len(row)
    assert "the device has 8.0 GiB" in row[-1].text


def test_a_page_without_a_preset_has_the_row_of_the_smallest(results: Path) -> None:
    data = reference()
    data["benchmarks"] = [
        b for b in data["benchmarks"] if not b["extra_info"]["question"].startswith("train-")
    ]
    save(results, "0001_x.json", data)
    (row,) = rows(results, CARD)
    assert row[1].text == "nanogpt-cpu"


def test_it_is_typed_once_per_device_and_is_on_the_page(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = results / "page.html"
    typed = ["--predict", CARD, "--predict", "here", "-o", str(page)]
    assert main(["report", str(results), *typed]) == 0
    text = page.read_text(encoding="utf-8")
    assert "predicted, grade table" in text
    assert "predicted, grade anchored" in text
    assert main(["report", str(results), "--markdown", *typed[:2]]) == 0
    assert "predicted, grade table" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("rtx 4070ti", f"did you mean '{CARD}'"),
        (" ", "the name of the device is empty"),
        ("cuda:1", "type mfubench predict --devices cuda:1, which makes one"),
    ],
)
def test_a_device_that_nobody_knows_is_one_sentence_and_no_page(
    results: Path, capsys: pytest.CaptureFixture[str], name: str, told: str
) -> None:
    page = results / "page.html"
    assert main(["report", str(results), "--predict", name, "-o", str(page)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert not page.exists()


def test_a_probe_of_a_gpu_is_found_by_its_kind(tmp_path: Path) -> None:
    there = {"device": "cuda:1 (Made-up GPU)", "threads": threads_of(None)}
    document.save(PROBE, MadeUp().probe(ANCHORS, **there), tmp_path)
    found = known_here(tmp_path, "cuda:1")
    assert found is not None
    assert found.machine.device == "cuda:1 (Made-up GPU)"
    assert known_here(tmp_path, "cuda") is None
    assert known_here(tmp_path / fingerprint().id, "cuda:1") is not None
    with pytest.raises(UnknownMachineError, match="no probe of this machine's cpu"):
        known_device("cpu", tmp_path)
