"""The first screen: a number, what it is a share of, and a card per machine."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from mfubench.report.bodies import BODIES
from mfubench.report.build import build_report
from mfubench.results.collect import collect
from mfubench.show.blocks import Card, Commands, Figure, Fold, Report, Table, Verdict, Verdicts
from mfubench.show.page import as_html
from tests.unit.report.example_results import (
    OTHER_MACHINE,
    ROOT,
    advice,
    case,
    claim,
    desktop,
    knob,
    reference,
    save,
)

STEP = "train-step/nanogpt-cpu/cpu-float32-b12-eager"
BREAKDOWN = "breakdown/nanogpt-cpu/cpu-float32-b12-eager"
MOST_BYTES = 200_000
RUNS = sorted((ROOT / "results").glob("*/*-CPython-*/*.json"))


def only(*case_ids: str, **changes: Any) -> dict[str, Any]:
    """The reference run with these cases alone, the first of them changed."""
    data = reference()
    data["benchmarks"] = [case(data, case_id) for case_id in case_ids]
    data["benchmarks"][0]["extra_info"] |= changes
    return data


def report_of(folder: Path, *runs: dict[str, Any]) -> Report:
    for number, data in enumerate(runs, start=1):
        save(folder, f"{number:04d}_x.json", data, machine=data["mfubench"]["fingerprint"]["id"])
    return build_report(collect([folder], BODIES))


def cards(report: Report) -> list[Card]:
    return [block for block in report.blocks if isinstance(block, Card)]


def verdicts(report: Report) -> list[Verdict]:
    lists = [block for block in report.blocks if isinstance(block, Verdicts)]
    return [line for found in lists for line in found.lines]


def twin(machine: str) -> dict[str, Any]:
    data = reference()
    data["mfubench"]["fingerprint"]["id"] = machine
    return data


def test_the_title_is_the_share(tmp_path: Path) -> None:
    report = report_of(tmp_path, reference())
    assert report.title == "nanoGPT uses 47 % of this AMD EPYC"
    assert report.subtitle == "1 run · 12 cases · 2026-11-24"
    assert "amd-epyc-2c" not in as_html(report).partition("<details")[0]


def test_four_tiles_say_how_much_how_fast_how_long_and_what_is_lost(tmp_path: Path) -> None:
    (card,) = cards(report_of(tmp_path, reference()))
    told = [(tile.name, tile.value) for tile in card.tiles]
    assert told == [
        ("MFU", "46.5 %"),
        ("tokens/s", "19,408"),
        ("per step", "39.6 ms"),
        ("largest loss", "14 %"),
    ]
    notes = [tile.note for tile in card.tiles]
    assert notes[0] == "nanoGPT shows 0.032 % (of an A100)"
    assert notes[2] == "2,000 iterations: 1 min 23 s, predicted"
    assert notes[3] == "attention could save up to 5.41 ms"


def test_what_was_verified_to_be_faster_takes_the_place_of_the_loss(tmp_path: Path) -> None:
    save(tmp_path, "0001_a.json", advice(), kind="advice")
    (card,) = cards(report_of(tmp_path, reference()))
    assert (card.tiles[3].name, card.tiles[3].value) == ("faster with", "+31 %")
    folds = [block for block in card.blocks if isinstance(block, Fold)]
    (typed,) = (b for fold in folds for b in fold.blocks if isinstance(b, Commands))
    assert typed.lines[0].endswith("python train.py --device=cpu --batch_size=48")


def test_the_gauge_shows_use_limit_and_what_nanogpt_says(tmp_path: Path) -> None:
    (card,) = cards(report_of(tmp_path, reference()))
    assert card.gauge is not None
    for drawn in (card.gauge.wide, card.gauge.narrow):
        root = ElementTree.fromstring(str(drawn))
        widths = {
            str(e.get("class")): float(e.get("width") or 0)
            for e in root.iter("{http://www.w3.org/2000/svg}rect")
        }
        whole = widths["gauge-rest"]
        assert widths["gauge-used"] / whole == pytest.approx(0.465, abs=0.002)
        assert widths["gauge-reach"] / whole == pytest.approx(0.907, abs=0.002)
        texts = [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]
        assert texts == [
            "46.5 % used",
            "nanoGPT shows 0.032 %",
            "measured limit 90.7 %",
            "peak 207 GFLOP/s",
        ]


def test_a_share_beyond_the_whole_stays_in_the_picture(tmp_path: Path) -> None:
    """On a GPU faster than an A100 nanoGPT's figure may exceed 100 %."""
    (card,) = cards(report_of(tmp_path, only(STEP, mfu_a100=1.27)))
    assert card.gauge is not None
    assert "nanoGPT shows 127 %" in str(card.gauge.wide)
    root = ElementTree.fromstring(str(card.gauge.narrow))
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        assert 0 <= float(text.get("x") or 0) <= float(root.get("width") or 0)


def test_without_a_peak_the_share_is_of_the_measured_limit(tmp_path: Path) -> None:
    unknown = {"mfu": None, "peak_flops_per_s": None, "peak_source": "no source states it"}
    report = report_of(tmp_path, only(STEP, **unknown))
    assert report.title == "nanoGPT reaches 51 % of what this AMD EPYC was seen to do"
    (card,) = cards(report)
    assert (card.tiles[0].name, card.tiles[0].value) == ("of the measured limit", "51.3 %")


def test_an_unsteady_run_says_so_and_predicts_nothing(tmp_path: Path) -> None:
    data = only(STEP, "train-loop/nanogpt-cpu/cpu-float32-b12-eager", steady=False)
    data["benchmarks"][0]["extra_info"]["step_spread_ratio"] = 1.47
    report = report_of(tmp_path, data)
    first = verdicts(report)[0]
    assert first.text == "Step times vary by 147 %. Measure again on a quiet machine."
    assert first.look == "warns"
    (card,) = cards(report)
    assert card.tiles[2].note == "step times vary by 147 %"
    assert "predicted" not in str(card.tiles)


def test_a_script_leads_its_page_and_shows_its_breakdown(tmp_path: Path) -> None:
    script = copy.deepcopy(case(reference(), STEP))
    broken = case(reference(), BREAKDOWN)["extra_info"]
    info = script["extra_info"]
    info |= {k: v for k, v in broken.items() if k.startswith("breakdown")}
    info |= {"case_id": "script/train.py/cpu", "question": "script", "preset": "train.py"}
    info |= {"tokens_per_s": None, "loop_s": 9.0, "steps_seen": 100, "loader_wait_s": 0.0}
    data = reference() | {"benchmarks": [script]}
    report = report_of(tmp_path, data)
    assert report.title == "train.py uses 47 % of this AMD EPYC"
    (figure,) = (f for f in report.figures if f.key.startswith("waterfall"))
    assert "Waterfall of train.py" in str(figure.wide)
    (card,) = cards(report)
    assert [tile.value for tile in card.tiles] == ["46.5 %", "–", "39.6 ms", "14 %"]


def test_equal_machines_are_told_apart_by_letters(tmp_path: Path) -> None:
    report = report_of(tmp_path, twin("one-1"), twin("two-2"))
    assert [card.name for card in cards(report)] == ["AMD EPYC, machine A", "AMD EPYC, machine B"]
    assert report.title == "nanoGPT uses 47 % of machine A and 47 % of machine B"
    several = report_of(tmp_path, twin("one-1"), twin("two-2"), twin("three-3"))
    assert several.title == "Training uses 47 % of 3 machines"


def test_a_machine_with_a_gpu_is_called_by_it_and_led_by_it(tmp_path: Path) -> None:
    report = report_of(tmp_path, desktop())
    assert report.title == "nanoGPT uses 5.8 % of this Made-up GPU"
    (card,) = cards(report)
    assert card.name == "Made-up GPU"
    assert card.note.startswith("2 CPU cores · 24 GiB · 12.0 GiB on the GPU")
    assert "nanoGPT uses 78 % of this CPU's peak" in str(card.blocks)


def test_a_page_without_a_training_step_says_what_to_type(tmp_path: Path) -> None:
    data = reference()
    data["benchmarks"] = [knob("batch x4", 1.163, 1.13, 1.22, "helps")]
    report = report_of(tmp_path, data)
    assert report.title == "Measured on AMD EPYC"
    said = [line.text for line in verdicts(report)]
    assert said[0] == "No training step was measured here. Type: pytest benchmarks/"
    assert said[1] == (
        "1 setting tried: 1 help, 0 hurt. The best one alone, batch x4: 16 % faster."
    )


def test_settings_differ_by_shape_and_unclear_ones_are_folded(tmp_path: Path) -> None:
    data = reference()
    data["benchmarks"] = [
        knob("batch x4", 1.163, 1.13, 1.22, "helps"),
        knob("one thread", 0.638, 0.63, 0.642, "hurts"),
        knob("compile", 1.02, 0.98, 1.06, "unclear"),
    ]
    report = report_of(tmp_path, data)
    (figure,) = report.figures
    shapes = [
        (e.get("class"), e.get("points"))
        for e in ElementTree.fromstring(str(figure.wide)).iter()
        if str(e.get("class")).startswith("estimate")
    ]
    assert [cls for cls, _ in shapes] == ["estimate helps", "estimate hurts"]
    tops = [[float(point.split(",")[1]) for point in str(p).split()] for _, p in shapes]
    assert tops[0][0] < tops[0][1], "a triangle that points up"
    assert tops[1][0] > tops[1][1], "a triangle that points down"
    page = as_html(report)
    assert "1 more setting makes no clear difference" in page
    # Nothing says when a setting pays that may not help at all.
    assert "7.0\N{NO-BREAK SPACE}% slower over 2,000 iterations, compilation included" in page
    assert "Too noisy to say when it pays" in page
    assert not any(f.key.startswith("knobs-0-pays") for f in report.figures)


def test_a_map_of_less_than_four_cells_is_left_out(tmp_path: Path) -> None:
    three = [STEP, STEP.replace("b12", "b48"), STEP.replace("eager", "compiled")]
    keys = {f.key for f in report_of(tmp_path / "a", only(*three)).figures}
    assert not any(key.startswith("heat") for key in keys)
    four = [*three, STEP.replace("b12-eager", "b48-compiled")]
    keys = {f.key for f in report_of(tmp_path / "b", only(*four)).figures}
    assert "heat-tokens" in keys


def test_small_bars_are_one_and_the_table_has_all(tmp_path: Path) -> None:
    report = report_of(tmp_path, only(BREAKDOWN))
    (figure,) = (f for f in report.figures if f.key.startswith("waterfall"))
    texts = [e.text for e in ElementTree.fromstring(str(figure.wide)).iter() if e.text]
    assert "6 smaller parts" in texts
    assert "embedding" not in texts
    assert figure.table is not None
    assert "embedding" in [row[0].text for row in figure.table.rows]


def test_a_loops_waterfall_is_folded_beside_its_steps(tmp_path: Path) -> None:
    report = report_of(tmp_path, only(BREAKDOWN, BREAKDOWN.replace("down/", "down-loop/")))
    (section,) = (s for s in report.sections if s.key == "breakdown")
    open_ones = [block for block in section.blocks if isinstance(block, Figure)]
    assert len(open_ones) == 1
    assert len([f for f in report.figures if f.key.startswith("waterfall")]) == 2


def test_uncommitted_changes_offer_no_checkout(tmp_path: Path) -> None:
    data = reference()
    assert "git checkout" in as_html(report_of(tmp_path / "clean", data))
    data["commit_info"]["dirty"] = True
    page = as_html(report_of(tmp_path / "dirty", data))
    assert "git checkout" not in page
    assert "changes that are not committed" in page


def test_microseconds_and_halves_of_cores_are_not_shown(tmp_path: Path) -> None:
    page = as_html(report_of(tmp_path, reference()))
    assert "05:16:24.860510" not in page
    assert ">2.0<" not in page


def test_a_claim_names_its_machine_only_where_there_are_several(tmp_path: Path) -> None:
    data = reference()
    data["benchmarks"].append(claim(2, "holds", "a CPU's peak is below 1 TFLOP/s", "207 GFLOP/s"))
    one = report_of(tmp_path, data)
    (table,) = (b for b in one.blocks if isinstance(b, Table) and b.name == "Claims")
    assert table.rows[0][0].note == ""
    two = report_of(tmp_path, data, twin(OTHER_MACHINE))
    (table,) = (b for b in two.blocks if isinstance(b, Table) and b.name == "Claims")
    assert table.rows[0][0].note == "machine A"


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.parts[-3]}-{run.stem[:4]}")
def test_the_page_of_a_stored_run_is_small_and_cuts_no_name(run: Path) -> None:
    report = build_report(collect([run], BODIES))
    assert len(as_html(report).encode()) <= MOST_BYTES
    for figure in report.figures:
        for drawn in (figure.wide, figure.narrow):
            texts = ElementTree.fromstring(str(drawn)).iter("{http://www.w3.org/2000/svg}text")
            assert [e.text for e in texts if e.text and e.text.endswith("…")] == []


def test_there_are_stored_runs_to_look_at() -> None:
    assert len(RUNS) >= 3


def test_a_breakdown_of_the_other_mode_says_which(tmp_path: Path) -> None:
    data = only(STEP.replace("eager", "compiled"), BREAKDOWN)
    (card,) = cards(report_of(tmp_path, data))
    assert card.tiles[3].note == "attention could save up to 5.41 ms (eager)"
    assert verdicts(build_report(collect([tmp_path])))[0].text.startswith("The eager step is comp")


def test_a_loop_that_is_not_steady_predicts_nothing(tmp_path: Path) -> None:
    loop = "train-loop/nanogpt-cpu/cpu-float32-b12-eager"
    data = only(loop, STEP, step_spread_ratio=0.316)
    (card,) = cards(report_of(tmp_path, data))
    assert card.tiles[2].note == "no prediction: in the loop step times vary by 31.6 %"


def test_what_is_rounding_reads_0_in_the_waterfall(tmp_path: Path) -> None:
    data = only(BREAKDOWN)
    data["benchmarks"][0]["extra_info"]["breakdown"][-1] |= {
        "name": "unexplained",
        "seconds": -2e-16,
    }
    (figure,) = (f for f in report_of(tmp_path, data).figures if f.key.startswith("waterfall"))
    texts = [e.text for e in ElementTree.fromstring(str(figure.wide)).iter() if e.text]
    at = texts.index("unexplained")
    assert texts[at + 1 : at + 3] == ["0", "0.0 %"]
