"""Provenance names software and settings, and nothing that must not be shared."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from mfubench.hardware.provenance import (
    allowed_environment,
    preloaded_allocator,
    settings,
    software,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_torch_is_described_only_where_it_is_loaded() -> None:
    assert software(modules={})["torch"] is None
    build = (
        "PyTorch built with:\n  - GCC 13.3\n"
        "  - Intel(R) oneAPI Math Kernel Library Version 2024.2\n"
        "  - Intel(R) MKL-DNN v3.12.0 (Git Hash x)\n  - OpenMP 201511 (a.k.a. OpenMP 4.5)\n"
        "  - CPU capability usage: AVX2\n  - Build settings: BLAS_INFO=mkl, BUILD_TYPE=Release\n"
    )
    torch = SimpleNamespace(
        __version__="2.13.0",
        __config__=SimpleNamespace(show=lambda: build),
        version=SimpleNamespace(git_version="cf30", cuda=None, hip=None),
    )
    described = software(modules={"torch": torch})["torch"]
    assert described["version"] == "2.13.0"
    assert (described["blas"], described["mkl"]) == ("mkl", "2024.2")
    assert (described["mkldnn"], described["openmp"]) == ("3.12.0", "201511")
    assert (described["compiler"], described["cpu_capability"]) == ("GCC 13.3", "AVX2")


def test_software_names_python_numpy_and_the_system() -> None:
    described = software(modules={})
    assert all(described[key] for key in ("python", "numpy", "os", "kernel"))
    json.dumps(described)


@pytest.mark.parametrize(
    "name",
    [
        "AWS_SECRET_ACCESS_KEY",
        "GITHUB_TOKEN",
        "HOME",
        "USER",
        "OMP_SECRET",
        "TORCHINDUCTOR_CACHE_DIR",
        "PYTORCH_TUNABLEOP_FILENAME",
        "MIOPEN_USER_DB_PATH",
        "NCCL_SOCKET_IFNAME",
        "MKL_LICENSE_FILE",
        "PATH",
    ],
)
def test_a_variable_off_the_allow_list_is_never_recorded(name: str) -> None:
    assert allowed_environment({name: "x"}) == {}


def test_thread_and_allocator_variables_are_recorded_sorted() -> None:
    environment = {"OMP_NUM_THREADS": "2", "LD_PRELOAD": "libjemalloc.so", "KMP_BLOCKTIME": "0"}
    assert list(allowed_environment(environment)) == sorted(environment)


@pytest.mark.parametrize(
    ("ld_preload", "allocator"),
    [("", "system"), ("/lib/libtcmalloc.so.4", "tcmalloc"), ("/lib/other.so", "system")],
)
def test_the_allocator_is_the_preloaded_one(ld_preload: str, allocator: str) -> None:
    assert preloaded_allocator(ld_preload) == allocator


def test_settings_separate_what_is_volatile(tmp_path: Path) -> None:
    governors = tmp_path / "devices/system/cpu"
    for cpu, governor in enumerate(("powersave", "performance", "powersave")):
        (governors / f"cpu{cpu}/cpufreq").mkdir(parents=True)
        (governors / f"cpu{cpu}/cpufreq/scaling_governor").write_text(f"{governor}\n")
    torch = SimpleNamespace(get_num_threads=lambda: 2, get_num_interop_threads=lambda: 1)
    known = settings(modules={"torch": torch}, environment={}, sysfs=tmp_path)
    assert known["governor"] == "performance, powersave"
    assert (known["torch_threads"], known["torch_interop_threads"]) == (2, 1)
    assert set(known["volatile"]) == {"load_average"}
    json.dumps(known)


def test_settings_without_torch_leave_its_threads_unknown(tmp_path: Path) -> None:
    known = settings(modules={}, environment={}, sysfs=tmp_path)
    assert known["torch_threads"] is None
    assert known["governor"] is None


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA_TF32_OVERRIDE",
        "TORCHINDUCTOR_MAX_AUTOTUNE",
        "PYTORCH_TUNABLEOP_ENABLED",
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
        "CUBLAS_WORKSPACE_CONFIG",
        "HIPBLASLT_ALLOW_TF32",
        "ROCBLAS_LAYER",
        "TEARDOWN_CUPTI",
    ],
)
def test_a_variable_that_changes_results_on_a_gpu_is_recorded(name: str) -> None:
    assert allowed_environment({name: "1"}) == {name: "1"}
