"""A project with one tiny benchmark in it, run through pytest as a user would."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.inner_runs import shorten, store_ceiling

TINY_CASES = """
import pytest
from mfubench.measure.gpt_workload import GPTWorkload
from mfubench_model.config import GPTConfig
from mfubench_model.presets import Preset

TINY = Preset(
    name="tiny",
    config=GPTConfig(block_size=64, vocab_size=65, n_layer=1, n_head=1, n_embd=8, bias=False),
    batch_size=4, eval_interval=50, eval_iters=2, log_interval=1, max_iters=100,
    learning_rate=1e-3, beta1=0.9, beta2=0.99, description="for tests", nanogpt_config="",
)

def workload(measure_case, batch_size=4):
    return GPTWorkload(TINY, batch_size, measure_case.session.corpus("nanogpt-cpu"))
"""

STEP_CASE = """
def test_step(measure_case, device, dtype):
    measure_case.train_step(workload(measure_case), device=device, dtype=dtype, compile=False)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a project whose benchmarks are the given code; GEMM ceilings are stored beforehand."""

    def write(code: str = STEP_CASE, *, ceiling_flops_per_s: float = 1e15) -> Path:
        pytester.makepyprojecttoml("[tool.pytest.ini_options]\ntestpaths = ['tests']\n")
        pytester.makeconftest("pytest_plugins = ['mfubench.plugin']")
        folder = pytester.path / "benchmarks"
        folder.mkdir(exist_ok=True)
        (folder / "test_tiny.py").write_text(TINY_CASES + code, encoding="utf-8")
        store_ceiling(pytester.path / "results", ceiling_flops_per_s)
        return pytester.path

    return write


@pytest.fixture
def bench(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., pytest.RunResult]:
    """Run `pytest benchmarks/ --sweep smoke …` in this process (torch is loaded already), each case
    for an instant: what comes of it is looked at, not how long it took.

    In float32 unless told otherwise: some CPUs have instructions for bfloat16, and would add cases.
    """
    shorten(monkeypatch)

    def run(*arguments: str) -> pytest.RunResult:
        chosen = any(argument.startswith("--dtypes") for argument in arguments)
        dtypes = () if chosen else ("--dtypes=float32",)
        return pytester.runpytest_inprocess(
            "benchmarks/", "--sweep=smoke", "-p", "no:cacheprovider", *dtypes, *arguments
        )

    return run


@pytest.fixture
def saved(pytester: pytest.Pytester) -> Callable[[], dict[str, Any]]:
    """The last saved result."""

    def read() -> dict[str, Any]:
        files = sorted((pytester.path / "results").rglob("[0-9][0-9][0-9][0-9]_*.json"))
        assert files, "nothing was saved"
        data: dict[str, Any] = json.loads(files[-1].read_text(encoding="utf-8"))
        return data

    return read
