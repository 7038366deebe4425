"""Naming a device, the CPU as a device, and recognising that memory ran out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mfubench.hardware.cpu_identity import CpuIdentity
from mfubench.hardware.device_base import is_out_of_memory, quietly
from mfubench.hardware.devices import (
    DEVICE_KINDS,
    DTYPES,
    CpuDevice,
    UnknownDeviceError,
    all_devices,
    available_devices,
    parse_device,
)


@pytest.mark.parametrize(
    ("text", "kind", "index"),
    [
        ("cpu", "cpu", 0),
        ("cuda", "cuda", 0),
        ("cuda:1", "cuda", 1),
        (" CUDA:2 ", "cuda", 2),
        ("xpu:0", "xpu", 0),
        ("mps", "mps", 0),
    ],
)
def test_a_device_is_parsed(text: str, kind: str, index: int) -> None:
    device = parse_device(text)
    assert (device.kind, device.index) == (kind, index)
    assert device.torch_device.type == kind


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("rocm", "cuda"),
        ("cudaa", "cuda"),
        ("gpu", "cuda or cpu"),
        ("metal", "mps"),
        ("cpi", "cpu"),
    ],
)
def test_an_unknown_device_is_refused_with_the_nearest(text: str, hint: str) -> None:
    with pytest.raises(UnknownDeviceError, match=f"did you mean {hint}. allowed: cpu, cuda, xpu"):
        parse_device(text)


@pytest.mark.parametrize(
    "text", ["", "cuda:", "cuda:-1", "cuda:1.5", "cpu:1", "mps:3", "cuda:99999"]
)
def test_a_malformed_device_is_refused(text: str) -> None:
    with pytest.raises(UnknownDeviceError, match="allowed: cpu, cuda, xpu, mps"):
        parse_device(text)


def test_every_kind_is_listed_once_and_the_cpu_is_always_there() -> None:
    assert tuple(device.kind for device in all_devices()) == DEVICE_KINDS
    assert "cpu" in [device.kind for device in available_devices()]


def test_every_device_answers_even_where_it_is_absent() -> None:
    for device in all_devices():
        assert device.name
        json.dumps(device.description())
        for dtype in DTYPES:
            rate, source = device.peak(dtype)
            assert rate is None or 1e9 < rate < 1e17
            assert source
            if device.unavailable_reason() is not None:
                assert device.unsupported_reason(dtype) == device.unavailable_reason()


def cpu_with(flags: str) -> CpuDevice:
    identity = CpuIdentity("GenuineIntel", "Some Xeon", 6, 143, 8, frozenset(flags.split()))
    return CpuDevice(identity)


def test_a_cpu_sweeps_bfloat16_only_with_arithmetic_for_it() -> None:
    assert cpu_with("avx2 fma avx512f").native_dtypes() == ("float32",)
    assert cpu_with("avx512f avx512_bf16").native_dtypes() == ("float32", "bfloat16")
    assert cpu_with("amx_tile amx_bf16").native_dtypes() == ("float32", "bfloat16")


def test_a_cpu_refuses_only_tf32() -> None:
    device = CpuDevice()
    assert "tf32" in (device.unsupported_reason("tf32") or "")
    assert [device.unsupported_reason(dtype) for dtype in DTYPES if dtype != "tf32"] == [None] * 3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_cpu_really_trains_in_what_it_does_not_refuse(dtype: torch.dtype) -> None:
    weight = torch.randn(8, 8, requires_grad=True)
    with torch.autocast("cpu", dtype=dtype):
        product = weight @ weight
    assert product.dtype == dtype
    (gradient,) = torch.autograd.grad(product.sum(), weight)
    assert torch.isfinite(gradient).all()


def test_a_misspelt_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match="did you mean float16"):
        CpuDevice().unsupported_reason("flaot16")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's clear_refs")
def test_peak_memory_of_the_cpu_is_growth_since_the_reset_and_outlives_the_tensor() -> None:
    device = CpuDevice()
    device.reset_peak_memory()
    if device.peak_memory_bytes() is None:
        pytest.skip("this kernel lets no one reset the high water mark")
    size_bytes = 64 * 2**20
    tensor = torch.ones(size_bytes // 4)
    del tensor
    peak_bytes = device.peak_memory_bytes()
    assert peak_bytes is not None
    assert 0.9 * size_bytes < peak_bytes < 2 * size_bytes
    device.reset_peak_memory()
    assert (device.peak_memory_bytes() or 0) < 0.5 * size_bytes


def test_peak_memory_is_unknown_without_a_reset_or_where_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("VmHWM:\t   100 kB\n")
    (tmp_path / "clear_refs").mkdir()  # writing to it fails
    device = CpuDevice(proc_self=tmp_path)
    assert device.peak_memory_bytes() is None
    device.reset_peak_memory()
    assert device.peak_memory_bytes() is None


def test_peak_memory_is_the_high_water_mark_above_the_reset(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("VmHWM:\t   100 kB\n")
    device = CpuDevice(proc_self=tmp_path)
    device.reset_peak_memory()
    assert (tmp_path / "clear_refs").read_text() == "5"
    (tmp_path / "status").write_text("VmPeak:\t 900 kB\nVmHWM:\t   150 kB\n")
    assert device.peak_memory_bytes() == 50 * 1024


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried ..."),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB)"),
        RuntimeError("Invalid buffer size: 24.00 GiB"),
        RuntimeError("XPU out of memory. Tried to allocate 1.00 GiB"),
        RuntimeError(
            "level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"
        ),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("HIP error: out of memory"),
        RuntimeError("std::bad_alloc"),
    ],
    ids=lambda error: str(error)[:40],
)
def test_out_of_memory_is_recognised(error: BaseException) -> None:
    assert is_out_of_memory(error)


def test_out_of_memory_is_recognised_behind_a_compilers_error() -> None:
    wrapped = RuntimeError("backend compiler failed")
    wrapped.__cause__ = MemoryError()
    assert is_out_of_memory(wrapped)


def test_other_errors_and_circular_causes_are_not_out_of_memory() -> None:
    first, second = ValueError("size mismatch"), RuntimeError("expected a 3-D tensor")
    first.__cause__, second.__cause__ = second, first
    assert not is_out_of_memory(first)


def test_torchs_own_cpu_allocation_failure_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert is_out_of_memory(caught.value)


def test_a_quiet_question_gives_the_fallback_on_any_error() -> None:
    def fail() -> int:
        raise ModuleNotFoundError("pynvml")

    assert quietly(fail, -1) == -1


@pytest.mark.parametrize(
    "module", ["pci", "peaks", "cgroup", "memory", "cpu", "fingerprint", "provenance"]
)
def test_hardware_is_described_without_importing_torch(module: str) -> None:
    code = f"import sys, mfubench.hardware.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
