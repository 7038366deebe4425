"""Intel GPUs, through ``torch.xpu``."""

from __future__ import annotations

from typing import Any

import torch

from mfubench.hardware.device_base import DeviceKind
from mfubench.hardware.device_gpu import GpuDevice

#: Which property of the device says that it has hardware for a dtype.
_PROPERTY_FOR_DTYPE = {
    "tf32": "has_subgroup_matrix_multiply_accumulate",
    "bfloat16": "has_bfloat16_conversions",
    "float16": "has_fp16",
}


class XpuDevice(GpuDevice):
    """One Intel GPU. Every call goes through ``torch_xpu``, so that tests can fake it."""

    kind: DeviceKind = "xpu"

    def __init__(
        self, index: int = 0, *, torch_xpu: Any = torch.xpu, torch_version: Any = torch.version
    ) -> None:
        super().__init__(index, torch_xpu, torch_version)

    def _built(self) -> bool:
        return bool(getattr(self._version, "xpu", None))

    def _missing(self) -> str:
        return "no Intel GPU, or its driver is missing"

    def _unsupported(self, dtype: str) -> str | None:
        if dtype == "float16" and not getattr(self._properties(), "has_fp64", True):
            return (
                f"{self.name} has no float64, in which torch's gradient scaler for float16 "
                "calculates; bfloat16 needs none"
            )
        wanted = _PROPERTY_FOR_DTYPE.get(dtype)
        # A torch that does not know the property cannot say no for the device.
        if wanted is None or getattr(self._properties(), wanted, True):
            return None
        return f"{self.name} has no hardware for {dtype} ({wanted} is false)"

    def _details(self) -> dict[str, Any]:
        properties = self._properties()
        return {
            "platform_version": str(self._version.xpu),
            "driver": getattr(properties, "driver_version", None),
            "execution_units": getattr(properties, "gpu_eu_count", None),
            "total_memory_bytes": int(properties.total_memory),
            "clock_mhz": self._clock_mhz(),
        }
