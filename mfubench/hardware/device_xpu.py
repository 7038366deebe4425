"""Intel GPUs, through ``torch.xpu``."""

from __future__ import annotations

from typing import Any

import torch

from mfubench.hardware.device_base import DeviceKind, quietly
from mfubench.hardware.dtypes import check_dtype
from mfubench.hardware.peaks import lookup

#: Which property of the device says that it has hardware for a dtype.
_PROPERTY_FOR_DTYPE = {
    "tf32": "has_subgroup_matrix_multiply_accumulate",
    "bfloat16": "has_bfloat16_conversions",
    "float16": "has_fp16",
}


class XpuDevice:
    """One Intel GPU. Every call goes through ``torch_xpu``, so that tests can fake it."""

    kind: DeviceKind = "xpu"

    def __init__(
        self, index: int = 0, *, torch_xpu: Any = torch.xpu, torch_version: Any = torch.version
    ) -> None:
        self.index = index
        self._xpu = torch_xpu
        self._version = torch_version

    @property
    def name(self) -> str:
        if self.unavailable_reason() is not None:
            return self.kind
        return str(self._xpu.get_device_name(self.index))

    @property
    def torch_device(self) -> torch.device:
        return torch.device("xpu", self.index)

    def unavailable_reason(self) -> str | None:
        build = f"torch {self._version.__version__}"
        if not getattr(self._version, "xpu", None):
            return f"this torch build has no XPU: {build}"
        if not quietly(self._xpu.is_available, False):
            return f"XPU found no device: no Intel GPU, or its driver is missing ({build})"
        count = quietly(self._xpu.device_count, 0)
        if self.index >= count:
            plural = "device" if count == 1 else "devices"
            return f"there is no xpu:{self.index}: XPU found {count} {plural}"
        return None

    def synchronise(self) -> None:
        self._xpu.synchronize(self.index)

    def unsupported_reason(self, dtype: str) -> str | None:
        check_dtype(dtype)
        absent = self.unavailable_reason()
        if absent is not None:
            return absent
        wanted = _PROPERTY_FOR_DTYPE.get(dtype)
        # A torch that does not know the property cannot say no for the device.
        if wanted is None or getattr(self._properties(), wanted, True):
            return None
        return f"{self.name} has no hardware for {dtype} ({wanted} is false)"

    def native_dtypes(self) -> tuple[str, ...]:
        single = "float32" if self.unsupported_reason("tf32") else "tf32"
        half = "float16" if self.unsupported_reason("bfloat16") else "bfloat16"
        return single, half

    def total_memory_bytes(self) -> int | None:
        if self.unavailable_reason() is not None:
            return None
        return int(self._properties().total_memory)

    def available_memory_bytes(self) -> int | None:
        """Free memory; where an integrated GPU does not tell, total minus what torch reserved."""
        total_bytes = self.total_memory_bytes()
        if total_bytes is None:
            return None
        reserved_bytes = int(self._xpu.memory_reserved(self.index))
        allocated_bytes = int(self._xpu.memory_allocated(self.index))
        free_bytes = quietly(
            lambda: int(self._xpu.mem_get_info(self.index)[0]), total_bytes - reserved_bytes
        )
        return max(0, free_bytes + reserved_bytes - allocated_bytes)

    def reset_peak_memory(self) -> None:
        self.empty_cache()
        self._xpu.reset_peak_memory_stats(self.index)

    def restart_peak_memory(self) -> None:
        self.reset_peak_memory()  # counted from zero, there is no baseline to keep

    def peak_memory_bytes(self) -> int | None:
        if self.unavailable_reason() is not None:
            return None
        return int(self._xpu.max_memory_allocated(self.index))

    def empty_cache(self) -> None:
        self._xpu.empty_cache()

    def peak(self, dtype: str) -> tuple[float | None, str]:
        check_dtype(dtype)
        absent = self.unavailable_reason()
        if absent is not None:
            return None, f"unknown: {absent}"
        peaks = lookup(self.name, memory_bytes=self.total_memory_bytes())
        rate = peaks.flops_per_s(dtype) if peaks else None
        if peaks is None or rate is None:
            return None, f"unknown: no {dtype} rate is listed for {self.name!r}"
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
            "platform": "XPU",
            "platform_version": str(self._version.xpu),
            "driver": getattr(properties, "driver_version", None),
            "execution_units": getattr(properties, "gpu_eu_count", None),
            "total_memory_bytes": int(properties.total_memory),
            "clock_mhz": quietly(lambda: int(self._xpu.clock_rate(self.index)), None),
        }

    def _properties(self) -> Any:
        return self._xpu.get_device_properties(self.index)
