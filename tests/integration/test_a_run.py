"""A run saves what the schema promises, and pytest-benchmark's own tools read it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mfubench
from mfubench.cli import main
from mfubench.hardware.fingerprint import fingerprint
from mfubench.predict.machine import PROBE
from mfubench.results import document
from mfubench.results.schema import problems
from tests.unit.predict.made_up_machine import ANCHORS, MadeUp

ROOT = Path(__file__).resolve().parents[2]
Project = Callable[..., Path]
Bench = Callable[..., pytest.RunResult]
Saved = Callable[[], dict[str, Any]]


def test_a_run_is_saved_valid_with_raw_rounds(project: Project, bench: Bench, saved: Saved) -> None:
    project()
    result = bench()
    assert result.ret == 0
    data = saved()
    assert problems(data) == []
    (case,) = data["benchmarks"]
    assert case["stats"]["rounds"] == len(case["stats"]["data"]) >= 5
    info = case["extra_info"]
    assert info["case_id"] == "train-step/tiny/cpu-float32-b4-eager"
    assert info["mfu"] == pytest.approx(
        info["model_flops_per_step"] / case["stats"]["median"] / info["peak_flops_per_s"]
    )
    assert info["mfu_a100"] == pytest.approx(
        info["nanogpt_flops_per_step"] / case["stats"]["median"] / 312e12, rel=1e-9
    )
    assert data["mfubench"]["complete"] is True


def test_the_table_fits_and_ends_with_the_answer(project: Project, bench: Bench) -> None:
    project()
    result = bench()
    lines = result.outlines
    start = next(n for n, line in enumerate(lines) if "= mfubench =" in line)
    assert max(len(line) for line in lines[start + 1 : -1]) <= 100
    text = " ".join(lines)
    for words in ("of this CPU's peak", "divides by an A100's peak", "Next: ", "saved in"):
        assert words in text


def test_results_lie_under_the_fingerprint_and_pytest_benchmark_reads_them(
    project: Project, bench: Bench
) -> None:
    path = project()
    bench()
    storage = path / "results" / fingerprint().id
    listing = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "--storage", str(storage), "compare"],
        capture_output=True,
        text=True,
        check=True,
        cwd=path,
    )
    assert "test_step[cpu-float32]" in listing.stdout


def test_compare_works_out_of_the_box(project: Project, bench: Bench) -> None:
    project()
    first = bench("--benchmark-compare")
    assert first.ret == 0
    before_timing = first.outlines.index(next(x for x in first.outlines if "[1/1]" in x))
    assert any("there is no saved run" in line for line in first.outlines[:before_timing])
    second = bench("--benchmark-compare")
    assert second.ret == 0
    assert any(line.startswith("Beside 0001_") for line in second.outlines)
    head = next(line for line in second.outlines if line.startswith("case") and "before" in line)
    assert head.split() == ["case", "before", "now", "change", "verdict", "spread"]


def test_compare_fail_without_a_baseline_is_refused_before_timing(
    project: Project, bench: Bench
) -> None:
    project()
    result = bench("--benchmark-compare", "--benchmark-compare-fail=median:5%")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "Run once without it" in str(result.errlines)
    assert not any("[1/1]" in line for line in result.outlines)


def test_plain_pytest_times_nothing(project: Project, pytester: pytest.Pytester) -> None:
    path = project()
    (path / "tests").mkdir()
    (path / "tests" / "test_nothing.py").write_text("def test_nothing(): pass\n")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    assert not list((path / "results").rglob("0001_*.json"))


def test_two_runs_get_two_numbers_and_load_as_a_frame(project: Project, bench: Bench) -> None:
    path = project()
    bench()
    bench()
    frame = mfubench.load(path / "results")
    assert sorted(Path(run).name[:4] for run in frame["run"]) == ["0001", "0002"]
    assert (frame["median_s"] > 0).all()
    assert set(frame["case_id"]) == {"train-step/tiny/cpu-float32-b4-eager"}


def test_show_and_validate_read_it_back(
    project: Project, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    path = project()
    bench()
    (file,) = (path / "results").rglob("0001_*.json")
    capsys.readouterr()
    assert main(["validate", str(file)]) == 0
    assert main(["show", str(file)]) == 0
    assert "cpu-float32-b4-eager" in capsys.readouterr().out


def test_the_loop_and_the_harness_are_recorded(
    project: Project, bench: Bench, saved: Saved
) -> None:
    project(
        """
def test_loop(measure_case, device):
    measure_case.train_loop(workload(measure_case), device=device, dtype="float32", compile=False)

def test_harness(measure_case, device):
    measure_case.harness(workload(measure_case), device=device)
"""
    )
    result = bench()
    data = saved()
    assert problems(data) == []
    infos = {b["extra_info"]["question"]: b["extra_info"] for b in data["benchmarks"]}
    loop = infos["train-loop"]
    assert loop["iteration_amortised_s"] == pytest.approx(
        loop["step_s"] + (loop["evaluation_s"] + loop["checkpoint_s"]) / loop["eval_interval"]
    )
    said = " ".join(result.outlines)
    assert "100 iterations take about" in said or "This run was unsteady" in said
    others = [o for o in data["mfubench"]["other_outcomes"] if o["question"] == "harness"]
    harness = infos.get("harness") or others[0]  # on a busy machine it may be refused
    assert len(harness["bare_rounds_s"]) == harness["harness_pairs"] == harness["rounds"]


def test_a_ceiling_that_is_measured_again_is_put_right_where_it_was_recorded(
    project: Project, bench: Bench, saved: Saved
) -> None:
    project(
        """
from mfubench.hardware import ceilings

def test_a_ceiling(measure_case, device):
    # Claims a hundred thousandth of the work it does, as if the machine had been busy.
    def make(target):
        kernel = ceilings.gemm_kernel(target, "float32", (256, 256, 256))
        return (ceilings.Kernel("gemm", "FLOP", kernel.run, kernel.work / 1e5, {"repeats": 1}),)
    measure_case.session.options = __import__("dataclasses").replace(
        measure_case.session.options, ceiling_max_age_s=0.0
    )
    measure_case.ceiling("gemm", device=device, dtype="float32", make=make)

def test_step(measure_case, device):
    measure_case.train_step(workload(measure_case), device=device, dtype="float32", compile=False)
"""
    )
    bench()
    infos = {b["extra_info"]["question"]: b["extra_info"] for b in saved()["benchmarks"]}
    ceiling, step = infos["ceiling"], infos["train-step"]
    assert ceiling["ceiling_rate_per_s"] < step["achieved_flops_per_s"]
    assert ceiling["ceiling_kept_rate_per_s"] == step["ceiling_flops_per_s"]
    assert step["achieved_flops_per_s"] <= 1.05 * step["ceiling_flops_per_s"]


def test_the_repositorys_own_benchmarks_are_collected() -> None:
    """Doctests import every file there; a script among them once broke the README's command."""
    command = [sys.executable, "-m", "pytest", "benchmarks/", "--collect-only", "-q"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "benchmarks/test_train_step.py::" in done.stdout


def test_the_estimate_of_a_run_asks_the_stored_probe(tmp_path: Path) -> None:
    slow = MadeUp(speed=1e-4).probe(ANCHORS, threads=1)
    document.save(PROBE, slow, tmp_path / "probed")
    told_s = []
    for results in ("probed", "none"):
        command = [sys.executable, "-m", "pytest", "benchmarks/test_train_step.py"]
        command += ["--collect-only", "--sweep", "smoke", "--devices", "cpu", "--threads", "1"]
        command += ["--dtypes", "float32", "--preset", "nanogpt-cpu"]
        command += ["--results-dir", str(tmp_path / results)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        told_s.append(re.search(r"1 case on .*; about (.*)", done.stdout))
    probed, guessed = (found and found[1] for found in told_s)
    assert guessed == "2.6 s"
    # A step of such a machine is made up to take 977 s, and seven are run at the least.
    assert probed is not None
    assert " h" in probed
