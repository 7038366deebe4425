"""Whatever stops a case is a recorded outcome, and the rest of the sweep goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mfubench.results.schema import problems

Project = Callable[..., Path]
Bench = Callable[..., pytest.RunResult]
Saved = Callable[[], dict[str, Any]]

GOOD_CASE = """
def test_z_good(measure_case, device):
    measure_case.train_step(workload(measure_case), device=device, dtype="float32", compile=False)
"""


def other(data: dict[str, Any]) -> dict[str, Any]:
    assert problems(data) == []
    (info,) = data["mfubench"]["other_outcomes"]
    assert info["mfu"] is None
    assert info["outcome_reason"]
    return dict(info)


def planted(code: str) -> str:
    """A case whose workload misbehaves in its loss, then a good one."""
    return f"""
import torch
class Bad(GPTWorkload):
    __slots__ = ()
    def loss(self, model, batch):
        {code}

def test_a_bad(measure_case, device):
    good = workload(measure_case)
    bad = Bad(good.preset, good.batch_size, good.corpus)
    measure_case.train_step(bad, device=device, dtype="float32", compile=False)
{GOOD_CASE}"""


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("raise torch.OutOfMemoryError('CUDA out of memory')", "out_of_memory"),
        (
            'raise RuntimeError("DefaultCPUAllocator: can\'t allocate memory: you tried")',
            "out_of_memory",
        ),
        ("raise NotImplementedError('no such kernel')", "unsupported"),
        ("raise ZeroDivisionError('a bug')", "error"),
        ("return GPTWorkload.loss(self, model, batch) * float('nan')", "invalid"),
    ],
)
def test_it_is_recorded_and_the_rest_goes_on(
    project: Project, bench: Bench, saved: Saved, code: str, outcome: str
) -> None:
    project(planted(code))
    result = bench()
    data = saved()
    assert other(data)["outcome"] == outcome
    assert [b["extra_info"]["outcome"] for b in data["benchmarks"]] == ["ok"]
    failed = outcome in ("error", "invalid")
    result.assert_outcomes(passed=1, failed=int(failed), skipped=int(not failed))
    assert any(outcome in line and "train-step/tiny" in line for line in result.outlines)


def test_a_compile_that_fails_is_recorded(
    project: Project, bench: Bench, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch._dynamo.exc

    def broken(model: object, **_: object) -> Callable[..., object]:
        def call(*_: object) -> object:
            raise torch._dynamo.exc.Unsupported("no compiler for this", case_name="planted")

        return call

    monkeypatch.setattr("torch.compile", broken)
    project(
        """
def test_a_compiled(measure_case, device):
    measure_case.train_step(workload(measure_case), device=device, dtype="float32", compile=True)
"""
        + GOOD_CASE
    )
    result = bench()
    result.assert_outcomes(passed=1, skipped=1)
    assert other(saved())["outcome"] == "compile_failed"


def test_a_rate_above_the_ceiling_is_invalid_and_never_printed_as_a_result(
    project: Project, bench: Bench, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(ceiling_flops_per_s=1e6)
    # Looking again finds the same low ceiling.
    from mfubench.suite.session import BenchSession

    original = BenchSession.gemm_ceiling
    monkeypatch.setattr(
        BenchSession,
        "gemm_ceiling",
        lambda self, device, dtype, renew=False: original(self, device, dtype),
    )
    result = bench()
    assert result.ret != 0
    data = saved()
    info = other(data)
    assert info["outcome"] == "invalid"
    assert "above the measured ceiling" in info["outcome_reason"]
    assert len(info["rounds_s"]) == info["rounds"]
    assert data["benchmarks"] == []
    assert not any("ktok/s" in line for line in result.outlines)


def test_a_ceiling_that_was_measured_too_low_is_measured_again(
    project: Project, bench: Bench, saved: Saved
) -> None:
    project(ceiling_flops_per_s=1e6)
    assert bench().ret == 0
    (case,) = saved()["benchmarks"]
    assert case["extra_info"]["ceiling_flops_per_s"] > 1e8


def test_an_absent_device_is_an_outcome_and_the_others_run(
    project: Project, bench: Bench, saved: Saved
) -> None:
    project()
    result = bench("--devices", "cpu,cuda:99")
    data = saved()
    assert len(data["benchmarks"]) == 1
    info = other(data)
    assert (info["device"], info["outcome"]) == ("cuda:99", "unavailable")
    assert result.ret == 0


def test_nothing_but_absent_devices_is_saved_and_fails(
    project: Project, bench: Bench, saved: Saved
) -> None:
    project()
    result = bench("--devices", "cuda:99")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert other(saved())["outcome"] == "unavailable"


def test_an_unsupported_dtype_is_an_outcome(project: Project, bench: Bench, saved: Saved) -> None:
    project()
    bench("--devices", "cpu", "--dtypes", "float32,tf32")
    data = saved()
    assert len(data["benchmarks"]) == 1
    assert other(data)["outcome"] == "unsupported"


def test_a_batch_that_cannot_fit_is_refused_before_the_system_kills_it(
    project: Project, bench: Bench, saved: Saved
) -> None:
    project(
        """
def test_a_huge(measure_case, device):
    big = workload(measure_case, batch_size=2**20)
    measure_case.train_step(big, device=device, dtype="float32", compile=False)
"""
        + GOOD_CASE
    )
    bench().assert_outcomes(passed=1, skipped=1)
    info = other(saved())
    assert info["outcome"] == "out_of_memory"
    assert "predicted" in info["outcome_reason"]
    assert "--batch-sizes" in info["outcome_reason"]


def test_an_interrupt_keeps_what_was_measured(
    project: Project, pytester: pytest.Pytester, saved: Saved
) -> None:
    project(
        """
def test_a_good(measure_case, device):
    measure_case.train_step(workload(measure_case), device=device, dtype="float32", compile=False)

class Stopped(GPTWorkload):
    __slots__ = ()
    calls = [0]
    def loss(self, model, batch):
        self.calls[0] += 1
        if self.calls[0] == 5:  # however slow a step is, there are two of warm-up and five rounds
            raise KeyboardInterrupt
        return GPTWorkload.loss(self, model, batch)

def test_b_stopped(measure_case, device):
    good = workload(measure_case)
    stopped = Stopped(good.preset, good.batch_size, good.corpus)
    measure_case.train_step(stopped, device=device, dtype="float32", compile=False)
"""
    )
    result = pytester.runpytest_subprocess("benchmarks/", "--sweep=smoke")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    data = saved()
    assert len(data["benchmarks"]) == 1
    assert other(data)["outcome"] == "interrupted"
    assert data["mfubench"]["complete"] is False
    assert any("train-step/tiny/cpu-float32-b4-eager" in line for line in result.outlines)
    assert any("interrupted: what was measured" in line for line in result.outlines)


def test_a_full_disk_loses_nothing(
    project: Project, bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project()
    from mfubench.plugin import storage

    def full(folder: Path, name: str, text: str) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "write_numbered", full)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = bench()
    text = " ".join(result.outlines)
    assert "No space left on device" in text
    (rescued,) = tmp_path.glob("mfubench-results-*/0001_*.json")
    assert json.loads(rescued.read_text(encoding="utf-8"))["benchmarks"]
    assert rescued.name in text


def test_benchmark_json_to_a_full_disk_still_saves(
    project: Project, bench: Bench, saved: Saved
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    project()
    result = bench("--benchmark-json=/dev/full")
    assert saved()["benchmarks"]
    assert "could not write" in " ".join(result.outlines)


def test_a_killed_run_leaves_its_finished_cases_behind(
    project: Project, pytester: pytest.Pytester, bench: Bench
) -> None:
    path = project(
        """
import os, signal
def test_a_good(measure_case, device):
    measure_case.train_step(workload(measure_case), device=device, dtype="float32", compile=False)

def test_b_killed():
    if not os.environ.get("SPARE"):
        os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    pytester.runpytest_subprocess("benchmarks/", "--sweep=smoke")
    (journal,) = (path / "results").rglob("unsaved-*.jsonl")
    (line,) = journal.read_text(encoding="utf-8").splitlines()
    case = json.loads(line)
    assert case["outcome"] == "ok"
    assert len(case["rounds_s"]) == case["rounds"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARE", "1")
        result = bench()
    assert any(journal.name in line for line in result.outlines)
    assert [p.name for p in (path / "results").rglob("unsaved-*.jsonl")] == [journal.name]
