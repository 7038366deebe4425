"""A GEMM ceiling that was measured before: measuring one takes longer than a small case."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from mfubench.hardware.ceiling_cache import CeilingCache, StoredCeiling
from mfubench.hardware.cpu import usable_cores
from mfubench.hardware.fingerprint import fingerprint


def store_ceiling(results: Path, flops_per_s: float = 1e15, *, threads: int | None = None) -> None:
    """Write it for this machine's CPU, for as many threads as a run would take."""
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
