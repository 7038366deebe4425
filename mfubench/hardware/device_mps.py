"""Apple GPUs, through ``torch.mps``."""

from __future__ import annotations

import platform
from typing import Any

import torch

from mfubench.hardware.cpu_identity import cpu_identity
from mfubench.hardware.device_base import DeviceKind, quietly
from mfubench.hardware.device_gpu import GpuDevice
from mfubench.hardware.memory import memory_available_bytes
from mfubench.hardware.peaks import lookup

_FIRST_MACOS_WITH_BFLOAT16 = (14, 0)


class MpsDevice(GpuDevice):
    """The GPU of an Apple chip. Calls go through two modules, so that tests can fake them."""

    kind: DeviceKind = "mps"

    def __init__(
        self,
        *,
        torch_mps: Any = torch.mps,
        backends_mps: Any = torch.backends.mps,
        torch_version: Any = torch.version,
    ) -> None:
        super().__init__(0, torch_mps, torch_version)
        self._backend = backends_mps

    def _name(self) -> str:
        """The chip ("Apple M4 Pro"), which is also the name of its GPU."""
        return quietly(lambda: str(self._backend.get_name()), cpu_identity().model_name)

    @property
    def torch_device(self) -> torch.device:
        return torch.device("mps")

    def _built(self) -> bool:
        return bool(self._backend.is_built())

    def _available(self) -> bool:
        return bool(self._backend.is_available())

    def _missing(self) -> str:
        return "it needs an Apple GPU and macOS 12.3 or later"

    def synchronise(self) -> None:
        self._module.synchronize()

    def _unsupported(self, dtype: str) -> str | None:
        if dtype == "tf32":
            return "tf32 is a format of NVIDIA, AMD and Intel matrix units, Apple GPUs have none"
        if dtype == "bfloat16" and not quietly(
            lambda: bool(self._backend.is_macos_or_newer(*_FIRST_MACOS_WITH_BFLOAT16)), True
        ):
            return "bfloat16 on an Apple GPU needs macOS 14 or later"
        return None

    def native_dtypes(self) -> tuple[str, ...]:
        return "float32", "float16"

    def total_memory_bytes(self) -> int | None:
        """What Metal recommends to use at most: memory is shared with the CPU."""
        if self.unavailable_reason() is not None:
            return None
        return int(self._module.recommended_max_memory())

    def available_memory_bytes(self) -> int | None:
        total_bytes = self.total_memory_bytes()
        if total_bytes is None:
            return None
        room_bytes = total_bytes - int(self._module.driver_allocated_memory())
        return max(0, min(room_bytes, memory_available_bytes()))

    def reset_peak_memory(self) -> None:
        self.empty_cache()

    def peak_memory_bytes(self) -> int | None:
        """Memory that Metal holds for this process now.

        torch keeps no peak for MPS. Its pool grows and gives nothing back until `empty_cache`,
        which the reset calls, so what it holds is the peak of the pool: an upper bound of that of
        tensors.
        """
        if self.unavailable_reason() is not None:
            return None
        return int(self._module.driver_allocated_memory())

    def peak(self, dtype: str) -> tuple[float | None, str]:
        """The chip's peak, scaled to its GPU cores: Apple sells one name with several counts."""
        rate, source = super().peak(dtype)
        peaks, cores = lookup(self.name), self._core_count()
        if rate is None or peaks is None or peaks.gpu_cores in (None, cores) or cores is None:
            return rate, source
        scaled = f"{source}, scaled to the {cores} of {peaks.gpu_cores} GPU cores here"
        return rate * cores / peaks.gpu_cores, scaled

    def _details(self) -> dict[str, Any]:
        return {
            "platform_version": platform.mac_ver()[0] or None,
            "gpu_cores": self._core_count(),
            "total_memory_bytes": self.total_memory_bytes(),
        }

    def _core_count(self) -> int | None:
        cores = quietly(lambda: int(self._backend.get_core_count()), 0)
        return cores if cores > 0 else None
