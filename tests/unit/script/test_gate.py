"""A script's new run is judged by its stored ones, whatever else was measured in between."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import mfubench
from mfubench.cli import main
from mfubench.plugin.gate_option import GateOption

CASE = "script/mine/cpu-float32-eager"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A run of a script, as `mfubench run` saves it."""
    with mfubench.measure_training(name="mine", results_dir=tmp_path):
        model = torch.nn.Linear(4, 2)
        optimizer = torch.optim.SGD(model.parameters())
        for _ in range(14):
            model(torch.randn(3, 4)).sum().backward()
            optimizer.step()
    (path,) = tmp_path.rglob("0001_*.json")
    return path


def copied(kept: Path, number: int, seconds: float, *, case: str = CASE) -> Path:
    """The same run with other times, under a later number."""
    data = json.loads(kept.read_text(encoding="utf-8"))
    (entry,) = data["benchmarks"]
    entry["extra_info"]["case_id"] = case
    entry["stats"]["data"] = [seconds] * 5
    path = kept.with_name(f"{number:04d}_run.json")
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


@pytest.fixture
def baseline(kept: Path) -> Path:
    for number, seconds in enumerate((1.0, 1.001, 0.999, 1.002, 0.998), start=2):
        copied(kept, number, seconds)
    baseline = copied(kept, 7, 1.0)
    kept.unlink()
    return baseline


@pytest.mark.parametrize(("seconds", "status"), [(1.0, 0), (1.2, 1), (0.8, 0)])
def test_gate_against_a_stored_run_of_the_script(
    baseline: Path,
    seconds: float,
    status: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    copied(baseline, 8, seconds)
    copied(baseline, 9, 5.0, case="script/another/cpu-float32-eager")
    results = str(baseline.parent.parent.parent)
    assert main(["gate", "--against", str(baseline), "--results-dir", results]) == status
    text = capsys.readouterr().out
    assert "0008_run.json by stored runs" in text
    assert CASE in text
    assert "another" not in text


def test_gate_against_says_that_the_script_was_not_measured_again(
    baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in baseline.parent.glob("000[2-6]_*"):
        path.unlink()
    copied(baseline, 9, 5.0, case="script/another/cpu-float32-eager")
    results = str(baseline.parent.parent.parent)
    assert main(["gate", "--against", str(baseline), "--results-dir", results]) == 3
    assert f"has a case of {baseline} ({CASE}); measure it once more" in capsys.readouterr().err


@pytest.mark.parametrize(("seconds", "is_green"), [(1.0, True), (1.2, False)])
def test_pytest_gate_judges_a_script_by_its_own_runs(
    baseline: Path, tmp_path: Path, seconds: float, is_green: bool
) -> None:
    copied(baseline, 8, 5.0, case="script/another/cpu-float32-eager")
    gate = GateOption(baseline.parent.parent, tmp_path)
    assert gate.judge(copied(baseline, 9, seconds)) is is_green
    assert [(one.case_id, one.reference) for one in gate.verdicts] == [
        (CASE, "baseline"),
        (CASE, "anchor"),
    ]
