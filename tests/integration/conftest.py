"""A project with one tiny benchmark in it, run through pytest as a user would."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas  # noqa: F401
import pytest
import torch
import torch._dynamo

import mfubench.report.table
import mfubench.report.write

# pytester forgets what a run imports, and numpy cannot be imported twice: import it all now.
import mfubench.show.page
import mfubench.suite.runner  # noqa: F401
from mfubench.hardware.ceiling_cache import CeilingCache, StoredCeiling
from mfubench.hardware.cpu import usable_cores
from mfubench.hardware.fingerprint import fingerprint

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


def store_ceiling(results: Path, flops_per_s: float) -> None:
    threads = max(1, min(torch.get_num_threads(), int(usable_cores().count)))
    cache = CeilingCache(results / fingerprint().id / "ceilings.json")
    for dtype in ("float32", "bfloat16", "float16"):
        cache.put(
            StoredCeiling(
                kind="gemm",
                device="cpu",
                dtype=dtype,
                threads=threads,
                torch_version=torch.__version__,
                rate_per_s=flops_per_s,
                noise_ratio=0.01,
                measured_at_s=time.time(),
            ),
            max_age_s=0,
        )


@pytest.fixture
def bench(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """Run `pytest benchmarks/ --sweep smoke …` in this process (torch is loaded already).

    In float32 unless told otherwise: some CPUs have instructions for bfloat16, and would add cases.
    """

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
