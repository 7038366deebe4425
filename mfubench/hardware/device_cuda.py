"""NVIDIA GPUs, and AMD GPUs under ROCm: torch drives both through ``torch.cuda``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mfubench.hardware.device_base import DeviceKind, quietly
from mfubench.hardware.dtypes import check_dtype
from mfubench.hardware.pci import display_devices
from mfubench.hardware.peaks import lookup

_FIRST_CAPABILITY_WITH_TF32 = (8, 0)  # Ampere brought both TF32 and bfloat16
_ROCM_ARCHS_WITH_TF32 = ("gfx94", "gfx95")  # those for which torch itself says so


class CudaDevice:
    """One GPU under CUDA or ROCm. Calls go through ``torch_cuda``, so that tests can fake it."""

    kind: DeviceKind = "cuda"

    def __init__(
        self,
        index: int = 0,
        *,
        torch_cuda: Any = torch.cuda,
        torch_version: Any = torch.version,
        sysfs: Path = Path("/sys"),
    ) -> None:
        self.index = index
        self._cuda = torch_cuda
        self._version = torch_version
        self._sysfs = sysfs

    @property
    def _platform(self) -> str:
        return "ROCm" if self._version.hip else "CUDA"

    @property
    def name(self) -> str:
        if self.unavailable_reason() is not None:
            return self.kind
        name = str(self._cuda.get_device_name(self.index))
        return f"{name} (ROCm)" if self._version.hip else name

    @property
    def torch_device(self) -> torch.device:
        return torch.device("cuda", self.index)

    def unavailable_reason(self) -> str | None:
        build = f"torch {self._version.__version__}"
        if not self._version.cuda and not self._version.hip:
            return f"this torch build has no CUDA: {build}"
        if not quietly(self._cuda.is_available, False):
            return f"{self._platform} found no device: {self._driver_complaint()} ({build})"
        count = quietly(self._cuda.device_count, 0)
        if self.index >= count:
            plural = "device" if count == 1 else "devices"
            return f"there is no cuda:{self.index}: {self._platform} found {count} {plural}"
        return None

    def _driver_complaint(self) -> str:
        """torch keeps the driver's own words for whoever initialises it."""

        def complaint() -> str:
            try:
                self._cuda.init()
            except Exception as error:
                return str(error).strip().partition("\n")[0]
            return "the driver lists none"

        return quietly(complaint, "the driver lists none")

    def synchronise(self) -> None:
        self._cuda.synchronize(self.index)

    def unsupported_reason(self, dtype: str) -> str | None:
        check_dtype(dtype)
        absent = self.unavailable_reason()
        if absent is not None:
            return absent
        if dtype not in ("tf32", "bfloat16"):
            return None
        if self._version.hip:
            arch = str(getattr(self._properties(), "gcnArchName", "unknown"))
            if dtype == "tf32" and not arch.startswith(_ROCM_ARCHS_WITH_TF32):
                return f"tf32 under ROCm needs an MI300-class GPU (gfx94x), this one is {arch}"
            return None
        major, minor = self._cuda.get_device_capability(self.index)
        if (major, minor) < _FIRST_CAPABILITY_WITH_TF32:
            return f"{dtype} needs compute capability 8.0, this device has {major}.{minor}"
        return None

    def native_dtypes(self) -> tuple[str, ...]:
        single = "float32" if self.unsupported_reason("tf32") else "tf32"
        half = "float16" if self.unsupported_reason("bfloat16") else "bfloat16"
        return single, half

    def total_memory_bytes(self) -> int | None:
        if self.unavailable_reason() is not None:
            return None
        return int(self._properties().total_memory)

    def available_memory_bytes(self) -> int | None:
        """Free on the device, plus what torch holds in its cache without a tensor in it."""
        if self.unavailable_reason() is not None:
            return None
        free_bytes, _ = self._cuda.mem_get_info(self.index)
        cached_bytes = self._cuda.memory_reserved(self.index) - self._cuda.memory_allocated(
            self.index
        )
        return int(free_bytes) + max(0, int(cached_bytes))

    def reset_peak_memory(self) -> None:
        self.empty_cache()
        self._cuda.reset_peak_memory_stats(self.index)

    def restart_peak_memory(self) -> None:
        self.reset_peak_memory()  # counted from zero, there is no baseline to keep

    def peak_memory_bytes(self) -> int | None:
        if self.unavailable_reason() is not None:
            return None
        return int(self._cuda.max_memory_allocated(self.index))

    def empty_cache(self) -> None:
        self._cuda.empty_cache()

    def peak(self, dtype: str) -> tuple[float | None, str]:
        check_dtype(dtype)
        absent = self.unavailable_reason()
        if absent is not None:
            return None, f"unknown: {absent}"
        driver_name = str(self._cuda.get_device_name(self.index))
        peaks = lookup(driver_name, memory_bytes=self.total_memory_bytes())
        if peaks is None:
            return None, f"unknown: no spec peak is listed for {driver_name!r}"
        rate = peaks.flops_per_s(dtype)
        if rate is None:
            return None, f"unknown: no {dtype} rate is listed for {driver_name!r}"
        return rate, f"spec: {peaks.source} (as of {peaks.source_date})"

    def description(self) -> dict[str, Any]:
        absent = self.unavailable_reason()
        if absent is not None:
            return {"kind": self.kind, "index": self.index, "unavailable": absent}
        properties = self._properties()
        return {
            "kind": self.kind,
            "index": self.index,
            "name": self.name,
            "platform": self._platform,
            "platform_version": self._version.hip or self._version.cuda,
            "driver": self._driver_version(),
            "compute_capability": f"{properties.major}.{properties.minor}",
            "gcn_arch": getattr(properties, "gcnArchName", None) if self._version.hip else None,
            "multiprocessors": properties.multi_processor_count,
            "total_memory_bytes": int(properties.total_memory),
            "pci_ids": self._pci_ids(properties),
            # Needs NVIDIA's or AMD's management library beside torch; None without it.
            "clock_mhz": quietly(lambda: int(self._cuda.clock_rate(self.index)), None),
            "temperature_c": quietly(lambda: int(self._cuda.temperature(self.index)), None),
        }

    def _properties(self) -> Any:
        return self._cuda.get_device_properties(self.index)

    def _driver_version(self) -> str | None:
        module = "amdgpu" if self._version.hip else "nvidia"
        path = self._sysfs / "module" / module / "version"
        return quietly(lambda: path.read_text(encoding="ascii").strip(), None)

    def _pci_ids(self, properties: Any) -> str | None:
        """Vendor and device id, found in sysfs by the address that torch gives."""

        def find() -> str | None:
            domain, bus, device = (
                getattr(properties, f"pci_{part}_id") for part in ("domain", "bus", "device")
            )
            address = f"{domain:04x}:{bus:02x}:{device:02x}.0"
            found = (pci for pci in display_devices(self._sysfs) if pci.address == address)
            return next((pci.ids for pci in found), None)

        return quietly(find, None)
