"""A ceiling is the best sustained rate, found by a search that keeps to its budget."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mfubench import timing
from mfubench.hardware import ceilings
from mfubench.hardware.ceiling_cache import CeilingCache, StoredCeiling
from mfubench.hardware.devices import CpuDevice


@given(st.lists(st.floats(1e-4, 1.0), min_size=1, max_size=60), st.floats(1, 1e12))
def test_it_lies_between_the_mean_and_the_fastest_round(rounds_s: list[float], work: float) -> None:
    ceiling = ceilings.sustained(rounds_s, work)
    assert ceiling.rate_per_s <= work / min(rounds_s) * (1 + 1e-9)
    assert ceiling.noise_ratio >= 0
    assert ceiling.windows >= 1


def test_one_lucky_round_is_not_sustained() -> None:
    rounds_s = [0.02] * 20 + [0.001] + [0.02] * 20
    assert ceilings.sustained(rounds_s, 1.0).rate_per_s < 1.2 / 0.02


@pytest.mark.parametrize("rounds_s", [[], [0.0, 0.1]])
def test_rounds_without_time_are_refused(rounds_s: list[float]) -> None:
    with pytest.raises(ValueError, match="rounds that took time"):
        ceilings.sustained(rounds_s, 1.0)


def test_a_gemm_kernel_does_the_work_it_claims() -> None:
    kernel = ceilings.gemm_kernel(CpuDevice(), "float32", (8, 4, 2), "nt")
    kernel.run()
    assert kernel.work == 2 * 8 * 4 * 2 * kernel.detail["repeats"]


def test_the_search_stops_before_a_shape_that_would_overrun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    tried = []

    def fake_kernel(
        device: object, dtype: str, shape: tuple[int, int, int], layout: str
    ) -> ceilings.Kernel:
        tried.append(shape)
        seconds = 2 * math.prod(shape) / 1e9  # a machine of 1 GFLOP/s: 1024 cubed takes 2 s

        def run() -> None:
            clock[0] += seconds

        return ceilings.Kernel("gemm", "FLOP", run, 2.0 * math.prod(shape))

    monkeypatch.setattr(ceilings, "gemm_kernel", fake_kernel)
    monkeypatch.setattr(timing, "clock_s", lambda: clock[0])
    best, seen = ceilings.best_gemm(CpuDevice(), "float32", budget_s=5.0)
    assert clock[0] <= 5.0
    assert max(math.prod(shape) for shape in tried) <= 512**3 * 4
    assert len(seen) == len(tried) > 1
    assert best.work > 0


def stored(rate: float, *, age_s: float = 0.0, threads: int = 2) -> StoredCeiling:
    return StoredCeiling(
        kind="gemm",
        device="cpu",
        dtype="float32",
        threads=threads,
        torch_version="2.13.0",
        rate_per_s=rate,
        noise_ratio=0.01,
        measured_at_s=time.time() - age_s,
    )


def test_the_best_of_the_last_days_is_kept_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "machine" / "ceilings.json"
    cache = CeilingCache(path)
    cache.put(stored(100.0), max_age_s=3600)
    assert cache.put(stored(90.0), max_age_s=3600).rate_per_s == 100.0
    assert cache.put(stored(110.0), max_age_s=3600).rate_per_s == 110.0
    again = CeilingCache(path).get(stored(0.0).key, max_age_s=3600)
    assert again is not None
    assert again.rate_per_s == 110.0


def test_an_old_ceiling_gives_way_to_a_lower_new_one(tmp_path: Path) -> None:
    cache = CeilingCache(tmp_path / "ceilings.json")
    cache.put(stored(100.0, age_s=7200), max_age_s=3600)
    assert cache.get(stored(0.0).key, max_age_s=3600) is None
    assert cache.put(stored(90.0), max_age_s=3600).rate_per_s == 90.0


def test_another_thread_count_is_another_ceiling(tmp_path: Path) -> None:
    cache = CeilingCache(tmp_path / "ceilings.json")
    cache.put(stored(100.0), max_age_s=3600)
    assert cache.get(stored(0.0, threads=4).key, max_age_s=3600) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format_version": 1, "ceilings": [{"kind": "gemm"}]}']
)
def test_a_broken_file_costs_a_measurement_and_no_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ceilings.json"
    path.write_text(text)
    cache = CeilingCache(path)
    assert cache.stored() == []
    assert cache.problem is not None
    assert "ignored" in cache.problem


def test_a_folder_that_cannot_be_written_keeps_ceilings_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = CeilingCache(tmp_path / "file" / "ceilings.json")
    cache.put(stored(100.0), max_age_s=3600)
    assert cache.get(stored(0.0).key, max_age_s=3600) is not None
    assert cache.problem is not None


def test_a_shape_that_does_not_fit_costs_that_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ceilings.gemm_kernel

    def fits_up_to(limit: int) -> list[dict[str, Any]]:
        def make(*args: Any) -> ceilings.Kernel:
            if max(args[2]) > limit:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8 GiB")
            return plain(*args)

        monkeypatch.setattr(ceilings, "gemm_kernel", make)
        return ceilings.best_gemm(CpuDevice(), "float32", budget_s=1e9)[1]

    monkeypatch.setattr(ceilings, "GEMM_SIZES_CPU", (32, 8))
    monkeypatch.setattr(ceilings, "ROUND_S", 1e-5)
    sizes = {tuple(shape["shape_mnk"]) for shape in fits_up_to(32)}
    assert sizes == {(32, 32, 32), (8, 8, 8), (32, 8, 8), (8, 32, 8)}
    with pytest.raises(torch.OutOfMemoryError):
        fits_up_to(4)
