"""`mfubench gate` and `pytest --gate` as they are typed, on pairs and runs that are made up."""

from __future__ import annotations

import json
import signal
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mfubench.cli import main
from mfubench.gate.measure.cases import GateCase
from mfubench.gate.measure.pairs import PairBench
from mfubench.hardware.fingerprint import fingerprint
from mfubench.pairs import machine_lock
from mfubench.report.bodies import BODIES
from mfubench.results.schema import problems
from tests.unit.gate.made_up_pairs import measured, repository
from tests.unit.report.example_results import case, reference

CASES = ["gate", "--cases", "b12-eager", "--results-dir", "kept"]
Bench = Callable[..., pytest.RunResult]
Slower = Callable[[int], float]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = repository(tmp_path / "repository")
    monkeypatch.chdir(root)
    monkeypatch.setattr(machine_lock, "lock_path", lambda: tmp_path / "lock")
    return root


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> Callable[[Slower], list[int]]:
    """Replace measuring: the candidate is slower by what the number of the pair gives."""

    def replace(slower: Slower) -> list[int]:
        asked: list[int] = []

        def pair(self: PairBench, cases: Sequence[GateCase], number: int) -> dict[str, Any]:
            asked.append(number)
            found = {c.id: measured(slower(number)) for c in cases}
            return {"number": number, "at_s": 0.0, "cases": found}

        monkeypatch.setattr(PairBench, "pair", pair)
        monkeypatch.setattr(PairBench, "bars", lambda *_: {"base": {}, "candidate": {}})
        return asked

    return replace


def documents(kind: str = "gate") -> list[Path]:
    return sorted((Path("kept") / fingerprint().id / kind).iterdir())


def test_a_gate_passes_and_is_saved_with_its_pairs(
    checkout: Path, pairs: Callable[[Slower], list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    pairs(lambda number: 0.0)
    assert main([*CASES, "--base", "HEAD~1"]) == 0
    said = capsys.readouterr().out
    assert "PASS: the working tree against HEAD~1 (" in said
    (path,) = documents()  # the kept pairs are in it, and gone beside it
    saved = json.loads(path.read_text(encoding="utf-8"))
    assert problems(saved, BODIES) == []
    assert saved["mfubench"]["fingerprint"]["id"] == fingerprint().id
    assert len(saved["gate"]["measured"]) == 6  # all cases are clear at the first look
    assert str(checkout) not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("slower", "status"), [(0.0, 0), (0.08, 1)])
def test_the_exit_status_and_every_format_agree(
    checkout: Path,
    pairs: Callable[[Slower], list[int]],
    capsys: pytest.CaptureFixture[str],
    slower: float,
    status: int,
) -> None:
    pairs(lambda number: slower)
    junit = ["--junit", "gate.xml"]
    assert main([*CASES, "--base", "HEAD~1", "--json", *junit]) == status
    assert json.loads(capsys.readouterr().out)["exit_status"] == status
    suite = ET.parse("gate.xml").getroot()
    assert suite.get("failures") == ("3" if status else "0")
    assert main([*CASES, "--base", "HEAD~1", "--markdown"]) == status
    assert f"gate: {'regressed' if status else 'pass'}" in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize("number_of_signal", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_status_3_and_resume_goes_on(
    checkout: Path,
    pairs: Callable[[Slower], list[int]],
    capsys: pytest.CaptureFixture[str],
    number_of_signal: signal.Signals,
) -> None:
    def interrupted(number: int) -> float:
        if number == 4:
            signal.raise_signal(number_of_signal)
        return 0.0

    pairs(interrupted)
    assert main([*CASES, "--base", "HEAD~1"]) == 3
    assert "whole pairs are kept: --resume" in capsys.readouterr().err
    asked = pairs(lambda number: 0.0)
    assert main([*CASES, "--base", "HEAD~1", "--resume"]) == 0
    assert asked == [4, 5]
    assert "4 pairs are kept from before" in capsys.readouterr().err


def test_a_second_gate_is_refused(
    checkout: Path, pairs: Callable[[Slower], list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    pairs(lambda number: 0.0)
    with machine_lock.machine_lock():
        assert main([*CASES, "--base", "HEAD~1"]) == 3
    assert "another gate is measuring on this machine" in capsys.readouterr().err


def test_two_settings_need_no_repository(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pairs: Callable[[Slower], list[int]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "model/mfubench_model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine_lock, "lock_path", lambda: tmp_path / "lock")
    pairs(lambda number: -0.05)
    assert main([*CASES, "--set", "optimizer=fused", "--set-base", "optimizer=for-loop"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "this tree with optimizer=fused against this tree with optimizer=for-loop" in said


def test_limits_of_pyproject_count_and_a_wrong_one_is_refused(
    checkout: Path, pairs: Callable[[Slower], list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    pairs(lambda number: 0.08)
    table = "[tool.mfubench.gate]\nfloor = 0.1\ntolerance = 0.2\n"
    Path("pyproject.toml").write_text(table, encoding="utf-8")
    assert main([*CASES, "--base", "HEAD~1"]) == 0
    Path("pyproject.toml").write_text("[tool.mfubench.gate]\nflor = 0.1\n", encoding="utf-8")
    assert main([*CASES, "--base", "HEAD~1"]) == 3
    assert (
        "tool.mfubench.gate has 'flor'; allowed: base_python, base_script, cases,"
        in capsys.readouterr().err
    )


# --- stored runs ---------------------------------------------------------------------------------


CASE = "train-step/nanogpt-cpu/cpu-float32-b12-eager"


def stored_run(folder: Path, number: int, seconds: float, *, machine: str | None = None) -> Path:
    data = reference()
    one = case(data, CASE)
    one["stats"]["data"] = [seconds] * 5
    data["benchmarks"] = [one]
    data["mfubench"]["fingerprint"]["id"] = machine or fingerprint().id
    path = folder / "Linux" / f"{number:04d}_run.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


@pytest.fixture
def history(tmp_path: Path) -> Path:
    folder = tmp_path / "kept" / fingerprint().id
    for number, seconds in enumerate((1.0, 1.001, 0.999, 1.002, 0.998, 1.0), start=1):
        stored_run(folder, number, seconds)
    return folder


@pytest.mark.parametrize(("seconds", "status"), [(1.0, 0), (1.2, 1)])
def test_the_newest_run_is_judged_by_a_stored_one(
    history: Path,
    seconds: float,
    status: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    stored_run(history, 9, seconds)
    results = str(history.parent)
    baseline = str(history / "Linux/0001_run.json")
    assert main(["gate", "--against", baseline, "--results-dir", results]) == status
    assert CASE in capsys.readouterr().out


def test_another_machine_is_refused_or_advisory(
    history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored_run(history, 9, 1.2)
    other = str(stored_run(tmp_path / "other", 1, 1.0, machine="another-machine"))
    arguments = ["gate", "--against", other, "--results-dir", str(history.parent)]
    assert main(arguments) == 3
    assert "is of another machine (another-machine, here " in capsys.readouterr().err
    assert main([*arguments, "--advisory"]) == 0
    assert "advisory: this never fails" in capsys.readouterr().out


def test_pytest_gate_is_refused_without_a_baseline_and_judges_with_one(
    project: Callable[..., Path], bench: Bench
) -> None:
    project()
    refused = bench("--gate")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["*--gate: there is no saved run of this machine*"])
    assert bench().ret == 0
    judged = bench("--gate")
    # One stored session says nothing of what sessions differ by, and that is said before.
    assert judged.ret == pytest.ExitCode.TESTS_FAILED
    text = judged.stdout.str()
    assert text.index("nothing will pass") < text.index("= mfubench =")
    judged.stdout.fnmatch_lines(["*= mfubench gate =*", "INCONCLUSIVE: 0002_*"])
