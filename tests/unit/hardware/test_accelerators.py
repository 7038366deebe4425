"""The GPU backends, driven through fakes of torch's modules: no GPU is needed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from mfubench.hardware import ceilings, nvidia_smi
from mfubench.hardware.devices import CudaDevice, MpsDevice, XpuDevice
from tests.unit.hardware.fake_cuda import GIB, FakeCuda, cuda, version

if TYPE_CHECKING:
    from pathlib import Path


A100 = "NVIDIA A100-SXM4-80GB"


def test_a_present_gpu_has_its_name_memory_and_spec_peak() -> None:
    device = cuda(FakeCuda(A100))
    assert device.unavailable_reason() is None
    assert device.name == A100
    rate, source = device.peak("bfloat16")
    assert rate == 312e12
    assert source.startswith("spec: NVIDIA A100 datasheet")
    assert device.total_memory_bytes() == int(79.2 * GIB)
    assert device.available_memory_bytes() == 13 * GIB  # 10 free and 3 cached without a tensor
    assert device.peak_memory_bytes() == 3 * GIB


def test_operations_go_to_the_right_gpu() -> None:
    fake = FakeCuda(A100, count=2)
    device = cuda(fake, 1)
    device.synchronise()
    device.reset_peak_memory()
    assert fake.calls == ["synchronize 1", "empty", "reset 1"]
    assert str(device.torch_device) == "cuda:1"


def test_a_build_without_cuda_says_so() -> None:
    device = CudaDevice(torch_cuda=FakeCuda(A100), torch_version=version())
    assert device.unavailable_reason() == "this torch build has no CUDA: torch 2.13.0+fake"
    assert device.peak("tf32") == (None, f"unknown: {device.unavailable_reason()}")
    assert device.total_memory_bytes() is None
    assert device.peak_memory_bytes() is None


def test_a_missing_driver_is_quoted_in_its_own_first_line() -> None:
    reason = cuda(FakeCuda(A100, count=0)).unavailable_reason() or ""
    assert "CUDA found no device: Found no NVIDIA driver on your system." in reason
    assert "more text" not in reason


def test_a_gpu_that_is_not_there_is_counted_out() -> None:
    device = cuda(FakeCuda(A100), 3)
    assert device.unavailable_reason() == "there is no cuda:3: CUDA found 1 device"


def test_an_unknown_gpu_has_an_unknown_peak() -> None:
    rate, source = cuda(FakeCuda("NVIDIA RTX A1000")).peak("bfloat16")
    assert rate is None
    assert source == "unknown: no spec peak is listed for 'NVIDIA RTX A1000'"


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ((8, 0), ("tf32", "bfloat16")),
        ((7, 5), ("float32", "float16")),
        ((9, 0), ("tf32", "bfloat16")),
    ],
)
def test_default_dtypes_are_those_with_hardware(
    capability: tuple[int, int], expected: tuple[str, ...]
) -> None:
    assert cuda(FakeCuda("GPU", capability)).native_dtypes() == expected


def test_an_old_gpu_refuses_with_the_capability_it_has() -> None:
    reason = cuda(FakeCuda("Tesla T4", (7, 5))).unsupported_reason("bfloat16")
    assert reason == "bfloat16 needs compute capability 8.0, this device has 7.5"


def test_rocm_is_the_same_backend_and_says_so() -> None:
    fake = FakeCuda("AMD Instinct MI300X", (9, 4))
    fake.properties.total_memory = int(191.9 * GIB)
    device = cuda(fake, hip="7.0")
    assert device.name == "AMD Instinct MI300X (ROCm)"
    assert device.peak("bfloat16")[0] == pytest.approx(1307.4e12)
    assert device.unsupported_reason("tf32") is None
    assert device.description()["platform"] == "ROCm"
    fake.properties.gcnArchName = "gfx90a"
    assert "gfx90a" in (device.unsupported_reason("tf32") or "")
    assert device.unsupported_reason("bfloat16") is None


def test_a_description_holds_driver_and_pci_ids_and_survives_what_is_unreadable(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "bus/pci/devices/0000:41:00.0"
    folder.mkdir(parents=True)
    for name, text in (("vendor", "0x10de"), ("device", "0x20b2"), ("class", "0x030200")):
        (folder / name).write_text(text)
    (tmp_path / "module/nvidia").mkdir(parents=True)
    (tmp_path / "module/nvidia/version").write_text("570.86.15\n")
    device = CudaDevice(
        torch_cuda=FakeCuda(A100), torch_version=version(cuda="12.8"), sysfs=tmp_path
    )
    description = device.description()
    assert description["pci_ids"] == "10de:20b2"
    assert description["driver"] == "570.86.15"
    assert description["compute_capability"] == "8.0"
    assert description["clock_mhz"] is None


class FakeXpu:
    def __init__(self, *, count: int = 1, tells_free_memory: bool = True) -> None:
        self.count, self.tells_free_memory = count, tells_free_memory
        self.properties = SimpleNamespace(
            total_memory=16 * GIB,
            has_subgroup_matrix_multiply_accumulate=False,
            has_bfloat16_conversions=True,
            has_fp16=True,
            driver_version="1.6",
            gpu_eu_count=512,
        )
        self.calls: list[str] = []

    def is_available(self) -> bool:
        return self.count > 0

    def device_count(self) -> int:
        return self.count

    def get_device_name(self, index: int) -> str:
        return "Intel(R) Arc(TM) A770 Graphics"

    def get_device_properties(self, index: int) -> SimpleNamespace:
        return self.properties

    def memory_reserved(self, index: int) -> int:
        return 4 * GIB

    def memory_allocated(self, index: int) -> int:
        return 1 * GIB

    def max_memory_allocated(self, index: int) -> int:
        return 2 * GIB

    def mem_get_info(self, index: int) -> tuple[int, int]:
        if not self.tells_free_memory:
            raise RuntimeError("The device doesn't support querying the available free memory.")
        return 6 * GIB, 16 * GIB

    def synchronize(self, index: int) -> None:
        self.calls.append("synchronize")

    def reset_peak_memory_stats(self, index: int) -> None:
        self.calls.append("reset")

    def empty_cache(self) -> None:
        self.calls.append("empty")


def xpu(fake: FakeXpu, index: int = 0, build: str = "20250101") -> XpuDevice:
    return XpuDevice(index, torch_xpu=fake, torch_version=version(xpu=build))


def test_an_intel_gpu_is_described_and_has_its_row_of_peaks() -> None:
    fake = FakeXpu()
    device = xpu(fake)
    assert device.unavailable_reason() is None
    assert device.native_dtypes() == ("float32", "bfloat16")
    assert device.peak("float32")[0] == 17.2e12
    assert device.peak("tf32")[0] is None
    assert device.description()["driver"] == "1.6"
    assert device.peak_memory_bytes() == 2 * GIB
    device.synchronise()
    device.reset_peak_memory()
    assert fake.calls == ["synchronize", "empty", "reset"]


def test_free_memory_of_an_intel_gpu_that_does_not_tell_is_total_minus_allocated() -> None:
    assert xpu(FakeXpu()).available_memory_bytes() == 9 * GIB
    assert xpu(FakeXpu(tells_free_memory=False)).available_memory_bytes() == 15 * GIB


def test_absent_intel_gpus_give_their_reason() -> None:
    no_build = XpuDevice(torch_xpu=FakeXpu(), torch_version=version())
    assert no_build.unavailable_reason() == "this torch build has no XPU: torch 2.13.0+fake"
    assert "XPU found no device" in (xpu(FakeXpu(count=0)).unavailable_reason() or "")
    assert xpu(FakeXpu(), 1).unavailable_reason() == "there is no xpu:1: XPU found 1 device"


def mps(
    name: str = "Apple M4 Pro", cores: int = 20, built: bool = True, available: bool = True
) -> MpsDevice:
    backend = SimpleNamespace(
        is_built=lambda: built,
        is_available=lambda: available,
        get_name=lambda: name,
        get_core_count=lambda: cores,
        is_macos_or_newer=lambda major, minor: False,
    )
    module = SimpleNamespace(
        recommended_max_memory=lambda: 3 * GIB,
        driver_allocated_memory=lambda: 1 * GIB,
        device_count=lambda: 1,
        synchronize=lambda: None,
        empty_cache=lambda: None,
    )
    return MpsDevice(torch_mps=module, backends_mps=backend, torch_version=version())


def test_an_apple_gpu_has_its_chips_peak() -> None:
    device = mps()
    assert device.name == "Apple M4 Pro"
    assert device.peak("float32")[0] == 9.2e12
    assert device.native_dtypes() == ("float32", "float16")
    assert device.total_memory_bytes() == 3 * GIB
    assert 0 <= (device.available_memory_bytes() or -1) <= 2 * GIB


def test_an_apple_gpu_with_fewer_cores_has_a_smaller_peak() -> None:
    rate, source = mps(cores=16).peak("float32")
    assert rate == pytest.approx(9.2e12 * 16 / 20)
    assert "scaled to the 16 of 20 GPU cores here" in source


def test_peak_memory_of_an_apple_gpu_is_what_its_pool_holds() -> None:
    device = mps()
    device.reset_peak_memory()
    assert device.peak_memory_bytes() == 1 * GIB


def test_an_apple_gpu_refuses_tf32_and_bfloat16_on_an_old_system() -> None:
    assert "tf32" in (mps().unsupported_reason("tf32") or "")
    assert "macOS 14" in (mps().unsupported_reason("bfloat16") or "")
    assert mps().unsupported_reason("float16") is None


def test_absent_apple_gpus_give_their_reason() -> None:
    assert mps(built=False).unavailable_reason() == "this torch build has no MPS: torch 2.13.0+fake"
    assert "MPS found no device" in (mps(available=False).unavailable_reason() or "")


@pytest.mark.parametrize(
    ("capability", "built", "runs"),
    [
        ((8, 6), ["sm_80", "sm_90"], True),
        ((6, 1), ["sm_75", "sm_80", "sm_90"], False),
        ((12, 0), ["sm_80", "sm_90"], False),
        ((12, 0), ["sm_80", "sm_90", "compute_90"], True),
        ((9, 0), ["sm_90a"], True),
        ((8, 0), [], True),
    ],
)
def test_a_card_that_this_torch_was_not_built_for_is_unavailable(
    capability: tuple[int, int], built: list[str], runs: bool
) -> None:
    fake = FakeCuda("GPU", capability)
    fake.get_arch_list = lambda: built  # type: ignore[attr-defined]
    reason = cuda(fake).unavailable_reason()
    assert (reason is None) is runs
    if reason is not None:
        arch = f"sm_{capability[0]}{capability[1]}"
        assert reason == (
            f"this torch was not built for GPU ({arch}), only for {', '.join(built)}: "
            "torch 2.13.0+fake"
        )


def test_an_amd_card_that_this_torch_was_not_built_for_is_unavailable() -> None:
    fake = FakeCuda("AMD Instinct MI300X")
    fake.get_arch_list = lambda: ["gfx90a", "gfx942"]  # type: ignore[attr-defined]
    assert cuda(fake, hip="6.4").unavailable_reason() is None
    fake.properties.gcnArchName = "gfx1030"
    assert "not built for AMD Instinct MI300X (gfx1030)" in (
        cuda(fake, hip="6.4").unavailable_reason() or ""
    )


def test_arrays_of_a_bandwidth_are_beyond_any_cache() -> None:
    fake = FakeCuda("GPU")
    fake.properties.L2_cache_size = 126 * 2**20
    assert cuda(fake).cache_bytes() == 126 * 2**20
    fake.properties.gcnArchName = "gfx942:sramecc+"
    fake.properties.L2_cache_size = 4 * 2**20
    assert cuda(fake, hip="6.4").cache_bytes() == 256 * 2**20
    fake.mem_get_info = lambda index: (100 * GIB, 192 * GIB)  # type: ignore[method-assign]
    assert ceilings.array_bytes(cuda(fake, hip="6.4")) == GIB
    fake.properties.gcnArchName = "gfx90a"
    assert cuda(fake, hip="6.4").cache_bytes() == 4 * 2**20


def test_an_intel_gpu_without_float64_trains_in_no_float16() -> None:
    properties = SimpleNamespace(total_memory=16 * GIB, has_fp16=True, has_fp64=False)
    module = SimpleNamespace(
        is_available=lambda: True,
        device_count=lambda: 1,
        get_device_name=lambda index: "Intel(R) Arc(TM) A770 Graphics",
        get_device_properties=lambda index: properties,
    )
    device = XpuDevice(torch_xpu=module, torch_version=version(xpu="2025.3"))
    assert "has no float64" in (device.unsupported_reason("float16") or "")
    assert device.unsupported_reason("bfloat16") is None
    properties.has_fp64 = True
    assert device.unsupported_reason("float16") is None


def test_a_gpu_at_work_says_what_holds_its_clocks_back(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def driver(*command: str) -> str:
        asked.append(command)
        return "1410, 1980, 698.7, 700.00, 84, 0x0000000000000024"

    fake = FakeCuda(A100)
    fake.properties.uuid = "3f9c"
    monkeypatch.setattr(nvidia_smi, "output_of", driver)
    state = cuda(fake).state()
    assert (state["clock_mhz"], state["power_w"], state["temperature_c"]) == (1410, 698.7, 84)
    assert state["throttled_by"] == ["power cap", "temperature (driver)"]
    assert "--id=GPU-3f9c" in asked[0]


def test_a_gpu_whose_driver_is_silent_says_what_torch_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nvidia_smi, "output_of", lambda *command: None)
    fake = FakeCuda(A100)
    assert cuda(fake).state() == {}
    fake.temperature = lambda index: 61  # type: ignore[attr-defined]
    assert cuda(fake).state() == {"temperature_c": 61}
