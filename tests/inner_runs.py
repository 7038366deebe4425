"""For tests that run pytest on a small project in this process, where torch is loaded already."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pandas  # noqa: F401
import pytest
import torch
import torch._dynamo

# pytester forgets what a run imports, and numpy cannot be imported twice: import it all now.
import mfubench.report.build
import mfubench.report.table
import mfubench.report.write
import mfubench.results.schema
import mfubench.show.page
import mfubench.suite.runner  # noqa: F401
from mfubench.analysis import rates
from mfubench.hardware.ceiling_cache import CeilingCache, StoredCeiling
from mfubench.hardware.cpu import usable_cores
from mfubench.hardware.fingerprint import fingerprint
from mfubench.suite.sweep import PLANS


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time each case of `--sweep smoke` for an instant: the tests look at what comes of it.

    The guard that compares the time of one step with that of four is off: how these times relate
    depends on what else the machine does, and tests must not. It has tests of its own.
    """
    monkeypatch.setattr(rates, "LEAST_GROWTH", 0.0)
    short = {"rounds_budget_s": 0.1, "warmup_budget_s": 0.1, "ceiling_budget_s": 0.1}
    monkeypatch.setitem(PLANS, "smoke", replace(PLANS["smoke"], **short))


def store_ceiling(results: Path, flops_per_s: float = 1e15, *, threads: int | None = None) -> None:
    """A GEMM ceiling of this machine's CPU, for as many threads as a run would take: measuring one
    takes longer than a small case."""
    if threads is None:
        threads = max(1, min(torch.get_num_threads(), int(usable_cores().count)))
    cache = CeilingCache(results / fingerprint().id / "ceilings.json")
    for dtype in ("float32", "bfloat16", "float16"):
        ceiling = StoredCeiling(
            kind="gemm",
            device="cpu",
            dtype=dtype,
            threads=threads,
            torch_version=torch.__version__,
            rate_per_s=flops_per_s,
            noise_ratio=0.01,
            measured_at_s=time.time(),
        )
        cache.put(ceiling, max_age_s=0)
