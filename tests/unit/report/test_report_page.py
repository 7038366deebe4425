"""The page says what the files say, whole, escaped, and without loading anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from mfubench.report.answer import answers
from mfubench.report.build import build_report
from mfubench.report.sections.predicted import NOT_HERE
from mfubench.results.collect import collect
from mfubench.results.record import CaseRecord
from mfubench.show.account import breakdown_sentences
from mfubench.show.blocks import Card, Figure, Prose, Report, Table, Verdicts, every_block
from mfubench.show.page import as_html
from tests.unit.report.example_results import (
    OTHER_MACHINE,
    advice,
    case,
    fill,
    gate,
    reference,
    save,
    self_test,
)

SVG = "{http://www.w3.org/2000/svg}"
SECTIONS = [
    *("answer", "machines", "breakdown", "roofline", "heat", "knobs", "learning"),
    *("gate", "claims", "history", "cases", "provenance"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return build_report(collect([fill(tmp_path_factory.mktemp("example"))]))


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return as_html(report)


def built(folder: Path, data: dict[str, Any]) -> Report:
    save(folder, "0001_x.json", data)
    return build_report(collect([folder]))


def section_text(report: Report, key: str) -> str:
    (section,) = (s for s in report.sections if s.key == key)
    said = []
    for block in every_block(section.blocks):
        if isinstance(block, Prose):
            said.append(block.text)
        elif isinstance(block, Verdicts):
            said += [line.text for line in block.lines]
    return " ".join(said)


def table(report: Report, name: str) -> Table:
    return next(b for b in report.blocks if isinstance(b, Table) and b.name == name)


def test_every_section_is_there_in_order_and_none_apologises(report: Report, page: str) -> None:
    assert [s.key for s in report.sections] == SECTIONS
    assert "cannot be shown" not in page


def test_the_answer_is_the_terminals(tmp_path: Path) -> None:
    data = reference()
    (sentence,) = answers([CaseRecord.from_data(b["extra_info"]) for b in data["benchmarks"]])
    assert sentence in section_text(built(tmp_path, data), "answer")


def test_the_answer_names_the_best_configuration_and_the_gates_verdict(report: Report) -> None:
    text = section_text(report, "answer")
    assert "31 % faster (29 to 33 %) with malloc keeps memory, adamw fused, batch x4: " in text
    assert "verified together in 4 pairs of processes. It learns as much per token." in text
    told = section_text(report, "gate")
    assert "Gate, working tree against main~1 (abc123): regressed (1 pass, 1 regressed" in told
    assert "Gate, " not in text, "the gate has a section of its own"


def test_machines_stand_side_by_side_with_their_ratio(report: Report) -> None:
    rows = {row[0].text: row for row in table(report, "Machines").rows}
    assert set(rows) == {"AMD EPYC", "Made-up GPU", NOT_HERE}
    info = case(reference(), "train-step/nanogpt-cpu/cpu-float32-b12-eager")["extra_info"]
    assert [cell.text for cell in table(report, "Machines").rows[0][2:6]] == [
        "188 GFLOP/s",
        "96.4 GFLOP/s",
        "46.5 %",
        "1 min 23 s",
    ]
    assert table(report, "Machines").rows[0][4].note == "of 207 GFLOP/s"
    pairs = table(report, "The same work on each, tokens/s")
    step = next(row for row in pairs.rows if row[0].text.startswith("train-step"))
    assert step[1].value == pytest.approx(info["tokens_per_s"])
    assert step[2].text.endswith("(×1.67)")  # the example's desktop takes 0.6 of the time
    assert step[3].text.endswith("(×12.50)")  # and its GPU 0.08


def test_the_waterfall_adds_up_and_reaches_the_step(report: Report) -> None:
    info = case(reference(), "breakdown/nanogpt-cpu/cpu-float32-b12-eager")["extra_info"]
    assert breakdown_sentences(CaseRecord.from_data(info)) in section_text(report, "breakdown")
    figure = next(f for f in report.figures if f.key == "waterfall-0")
    assert figure.table is not None
    seconds = [row[1].value for row in figure.table.rows]
    assert sum(s for s in seconds if s is not None) == pytest.approx(info["breakdown_step_s"])
    root = ElementTree.fromstring(str(figure.wide))
    whole = next(r for r in root.iter(f"{SVG}rect") if r.get("class") == "whole")
    drawn = [r for r in root.iter(f"{SVG}rect") if r.get("class") in ("peak", "floor", "to-win")]
    back = [r for r in root.iter(f"{SVG}rect") if r.get("class") == "gives-back"]
    length = sum(float(r.get("width") or 0) for r in drawn)
    length -= sum(float(r.get("width") or 0) for r in back)
    assert length == pytest.approx(float(whole.get("width") or 0), rel=0.01)


def test_pictures_say_in_words_what_they_show(report: Report) -> None:
    keys = [figure.key for figure in report.figures]
    kinds = {key.rstrip("0123456789-") for key in keys}
    assert kinds >= {
        *(
            "waterfall",
            "roofline",
            "gauge",
            "heat-tokens",
            "heat-utilisation",
            "knobs",
            "knobs-0-pays",
        ),
        *("loss", "gate-forest", "history"),
    }
    for figure in report.figures:
        for drawn in (figure.wide, figure.narrow):
            root = ElementTree.fromstring(str(drawn))
            assert root.get("role") == "img"
            named = {e.get("id"): e.text for e in root if e.tag in (f"{SVG}title", f"{SVG}desc")}
            assert set((root.get("aria-labelledby") or "").split()) == set(named)
            assert all(named.values())


def test_nothing_is_drawn_outside_its_picture(report: Report) -> None:
    for figure in report.figures:
        for drawn in (figure.wide, figure.narrow):
            root = ElementTree.fromstring(str(drawn))
            width, height = (float(root.get(side) or 0) for side in ("width", "height"))
            for element in root.iter():
                for key, most in (("x", width), ("cx", width), ("y", height), ("cy", height)):
                    if (value := element.get(key)) is not None:
                        assert -0.5 <= float(value) <= most + 0.5, (figure.key, element.attrib)
                if element.tag == f"{SVG}rect":
                    end = float(element.get("x") or 0) + float(element.get("width") or 0)
                    assert end <= width + 0.5, (figure.key, element.attrib)


def test_a_cell_without_a_number_is_hatched_and_says_why(report: Report, page: str) -> None:
    figure = next(f for f in report.figures if f.key == "heat-tokens")
    assert str(figure.wide).count("url(#heat-tokens-hatch)") == 2
    assert "needs 40 GiB, the machine has 23.5" in str(figure.wide)
    rows = table(report, "Without a number").rows
    assert {row[2].text for row in rows} == {
        "needs 40 GiB, the machine has 23.5",
        "torch.compile: no C++ compiler",
    }


def test_the_gate_draws_floor_and_tolerance_and_says_what_did_not_run(report: Report) -> None:
    figure = next(f for f in report.figures if f.key == "gate-forest")
    assert str(figure.wide).count('class="band"') == 2
    text = section_text(report, "gate")
    assert "inconclusive: new: the base does not run it: no such case" in text
    assert "The gate caught 3 % slow-downs in 80 %, 5 % slow-downs in 100 % of" in text
    own, rival = table(report, "Alarms per case, by what was planted").rows
    assert [cell.text for cell in own] == ["this gate, 10 pairs", "0.00 %", "80.00 %", "100.00 %"]
    assert [cell.text for cell in rival[1:]] == ["24.00 %", "40.00 %", "55.00 %"]
    (pairs,) = table(report, "What pairs of processes differ by without a change").rows
    assert [cell.text for cell in pairs[1:]] == ["0.60 %", "0.40 %", "2.10 %"]
    assert "seen in gates that share no pair: +3 % 31 of 40" in text


def test_claims_come_in_the_order_of_their_numbers(report: Report) -> None:
    first_words = [row[0].text.partition(":")[0] for row in table(report, "Claims").rows]
    assert first_words == ["C1", "C2", "C10"]


def test_the_end_tells_how_to_repeat_it(report: Report, page: str) -> None:
    commit = reference()["commit_info"]["id"]
    assert f"git checkout {commit}\npytest benchmarks/ --sweep default --threads 2" in page
    for fact in ("torch", "kernel", "corpus, vocab 65, context 64", "allocator"):
        assert f"<bdi>{fact}</bdi>" in page


def test_an_empty_map_or_a_single_round_still_draws(tmp_path: Path) -> None:
    data = reference()
    data["benchmarks"] = [case(data, "train-step/nanogpt-cpu/cpu-float32-b12-eager")]
    info = data["benchmarks"][0]["extra_info"]
    info["ceiling_utilisation"] = info["mfu"] = info["ceiling_flops_per_s"] = None
    info["peak_flops_per_s"] = info["step_spread_ratio"] = None
    report = built(tmp_path, data)
    assert report.figures == [], "no gauge without a share, no map of one cell"
    (card,) = (block for block in report.blocks if isinstance(block, Card))
    assert [tile.value for tile in card.tiles] == ["–", "19,408", "39.6 ms", "?"]
    assert "run `mfubench breakdown`" in section_text(report, "answer")


def test_a_figures_numbers_are_folded_below_it(report: Report) -> None:
    figures = [f for f in report.figures if f.key.startswith(("waterfall", "gate"))]
    figures += [f for f in report.figures if f.key == "knobs-0"]
    assert all(isinstance(f, Figure) and f.table and f.table.is_folded for f in figures)


@pytest.mark.parametrize("heavy", ["torch", "pandas", "ruptures", "scipy.stats"])
def test_a_page_about_one_run_imports_nothing_heavy(tmp_path: Path, heavy: str) -> None:
    save(tmp_path, "0001_x.json", reference())
    code = (
        "import sys; from mfubench.cli import main; "
        f"main(['report', {str(tmp_path)!r}, '-o', {str(tmp_path / 'r.html')!r}, "
        f"'--predict', {NOT_HERE!r}]); "
        f"assert {heavy!r} not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_what_another_machine_advised_and_ruled_is_said_to_be_its_own(tmp_path: Path) -> None:
    save(tmp_path, "0001_run.json", reference())
    for kind, made in (("advice", advice()), ("gate", gate())):
        made["mfubench"]["fingerprint"]["id"] = OTHER_MACHINE
        save(tmp_path, f"0001_{kind}.json", made)
    report = build_report(collect([tmp_path]))
    cards = [block for block in report.blocks if isinstance(block, Card)]
    assert [card.name for card in cards] == ["AMD EPYC", OTHER_MACHINE]
    assert "31 % faster" in str(cards[1].blocks)
    assert "31 % faster" not in str(cards[0].blocks)
    assert section_text(report, "gate").startswith(f"{OTHER_MACHINE}: Gate, ")


def test_knobs_that_help_say_where_their_time_came_from(report: Report) -> None:
    (section,) = (s for s in report.sections if s.key == "knobs")
    tables = [block for block in every_block(section.blocks) if isinstance(block, Table)]
    (told,) = (t for t in tables if t.name.startswith("Where the time came from"))
    assert [[cell.text for cell in row] for row in told.rows] == [
        ["batch x4", "optimizer: 1.90 → 0.700 ms"]
    ]


def test_the_answer_says_where_a_kept_knob_took_its_time_from(tmp_path: Path) -> None:
    save(tmp_path, "0001_run.json", reference())
    made = advice()
    save(tmp_path, "0001_advice.json", made)
    told = "In an iteration, adamw fused: optimizer: 1.90 → 0.700 ms"
    assert told in section_text(build_report(collect([tmp_path])), "answer")
    made["advice"]["tries"][0]["bars"] = None
    save(tmp_path, "0001_advice.json", made)
    assert "In an iteration" not in section_text(build_report(collect([tmp_path])), "answer")


def test_a_self_test_beside_a_load_is_shown_only_where_there_is_no_other(tmp_path: Path) -> None:
    loaded = self_test()
    loaded["self-test"]["load"] = "both"
    loaded["mfubench"]["created"] = "2026-11-25T08:00:00+00:00"
    save(tmp_path, "0002_loaded.json", loaded)
    assert "beside a planted load" in section_text(build_report(collect([tmp_path])), "gate")
    save(tmp_path, "0001_quiet.json", self_test())
    assert "planted load" not in section_text(build_report(collect([tmp_path])), "gate")


def test_a_device_that_nobody_has_stands_beside_them_marked_predicted(report: Report) -> None:
    row = next(r for r in table(report, "Machines").rows if r[0].text == NOT_HERE)
    assert row[0].note == "predicted, grade table"
    assert row[4].note == "predicted, of 80.2 TFLOP/s"
    assert row[5].value is not None
    assert "Rows marked predicted were not measured" in section_text(report, "machines")
