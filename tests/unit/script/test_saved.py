"""A saved run of a script is what the gate, the report and the frame read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import mfubench
from mfubench.gate.measure.stored import read_run
from mfubench.report.sections.cases import cases_section
from mfubench.report.table import render
from mfubench.results.collect import collect
from mfubench.results.read import read_result
from mfubench.results.schema import problems
from mfubench.script.naming import without_secret
from mfubench.script.tally import Tally


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    with mfubench.measure_training(name="mine", results_dir=folder):
        model = torch.nn.Linear(4, 2)
        optimizer = torch.optim.SGD(model.parameters())
        for _ in range(14):
            model(torch.randn(3, 4)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    (path,) = folder.rglob("0001_*.json")
    return path


CASE = "script/mine/cpu-float32-eager"


def test_it_is_valid_and_has_every_step(saved: Path) -> None:
    data = json.loads(saved.read_text(encoding="utf-8"))
    assert problems(data) == []
    (benchmark,) = data["benchmarks"]
    assert benchmark["extra_info"]["rounds"] == len(benchmark["stats"]["data"]) > 4


def test_the_gate_reads_its_rounds(saved: Path) -> None:
    assert list(read_run(saved).rounds) == [CASE]


def test_the_report_shows_it_beside_other_cases(saved: Path) -> None:
    section = cases_section(collect([saved]))
    assert section is not None
    (table,) = section.blocks
    assert table.rows[0][0].text == "mine"  # type: ignore[union-attr]


def test_the_frame_has_it(saved: Path) -> None:
    frame = mfubench.load(saved.parent)
    assert list(frame.question) == ["script"]
    assert list(frame.model_flops_per_step) == [2 * (2 * 3 * 4 * 2)]


def test_a_run_without_tokens_is_shown_without_them(saved: Path) -> None:
    ((record, _),) = read_result(saved).records
    assert "training script, mine" in render([record])
    assert "mine uses " in render([record])


@pytest.mark.parametrize(
    ("argument", "before", "kept"),
    [
        ("--wandb_api_key=abc", "", "--wandb_api_key=…"),
        ("abc", "--token", "…"),
        ("abc", "--token=x", "abc"),
        ("--lr=0.1", "--compile", "--lr=0.1"),
    ],
)
def test_a_secret_in_an_argument_is_not_kept(argument: str, before: str, kept: str) -> None:
    assert without_secret(argument, before) == kept


def test_a_kept_tally_is_read_as_it_was_written() -> None:
    tally = Tally()
    a, b = torch.zeros(2, 3), torch.zeros(3, 4)
    tally.add(torch.ops.aten.mm.default, (a, b), {}, a @ b, phase="forward", module="head")
    tally.add_embedding((torch.zeros(50, 4), torch.zeros(7)))
    again = Tally.from_json(json.loads(json.dumps(tally.as_json())))
    assert again.as_json() == tally.as_json()
    assert (again.model_flops, again.tokens, again.dtype) == (48, 7, "float32")


TRAINS = """
import torch
model = torch.nn.Linear(64, 64)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range({steps}):
    x = torch.ones(32, 64)
    model(x).pow(2).mean().backward()
    optimizer.step()
    optimizer.zero_grad()
"""


@pytest.mark.parametrize("steps", [80, 6])
def test_a_breakdown_is_saved_or_says_why_there_is_none(tmp_path: Path, steps: int) -> None:
    script = tmp_path / "mine.py"
    script.write_text(TRAINS.format(steps=steps), encoding="utf-8")
    command = [sys.executable, "-m", "mfubench", "run", "--breakdown", "--no-ceilings"]
    done = subprocess.run(
        [*command, "--results-dir", str(tmp_path / "results"), str(script)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "not all could be said" not in done.stderr
    (path,) = (tmp_path / "results").rglob("0001_*.json")
    ((record, _),) = read_result(path).records
    if steps == 6:
        assert record.breakdown is None
        assert "ended before the steps" in str(record.breakdown_problem)
        assert "ended before the steps" in " ".join(done.stderr.split())
        return
    assert record.breakdown is not None
    assert sum(bar.seconds for bar in record.breakdown) == pytest.approx(record.breakdown_step_s)
    assert sum(bar.points for bar in record.breakdown) == pytest.approx(1.0)
    assert {"forward", "backward", "optimizer"} <= {bar.name for bar in record.breakdown}
