"""Apple GPUs, through ``torch.mps``."""

from __future__ import annotations

import platform
from typing import Any

import torch

from mfubench.hardware.cpu_identity import cpu_identity
from mfubench.hardware.device_base import DeviceKind, quietly
from mfubench.hardware.dtypes import check_dtype
from mfubench.hardware.memory import memory_available_bytes
from mfubench.hardware.peaks import lookup

_FIRST_MACOS_WITH_BFLOAT16 = (14, 0)


class MpsDevice:
    """The GPU of an Apple chip. Calls go through two modules, so that tests can fake them."""

    kind: DeviceKind = "mps"
    index = 0

    def __init__(
        self,
        *,
        torch_mps: Any = torch.mps,
        backends_mps: Any = torch.backends.mps,
        torch_version: Any = torch.version,
    ) -> None:
        self._mps = torch_mps
        self._backend = backends_mps
        self._version = torch_version

    @property
    def name(self) -> str:
        """The chip ("Apple M4 Pro"), which is also the name of its GPU."""
        if self.unavailable_reason() is not None:
            return self.kind
        return quietly(lambda: str(self._backend.get_name()), cpu_identity().model_name)

    @property
    def torch_device(self) -> torch.device:
        return torch.device("mps")

    def unavailable_reason(self) -> str | None:
        build = f"torch {self._version.__version__}"
        if not quietly(self._backend.is_built, False):
            return f"this torch build has no MPS: {build}"
        if not quietly(self._backend.is_available, False):
            return f"MPS found no device: it needs an Apple GPU and macOS 12.3 or later ({build})"
        return None

    def synchronise(self) -> None:
        self._mps.synchronize()

    def unsupported_reason(self, dtype: str) -> str | None:
        check_dtype(dtype)
        absent = self.unavailable_reason()
        if absent is not None:
            return absent
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
        return int(self._mps.recommended_max_memory())

    def available_memory_bytes(self) -> int | None:
        total_bytes = self.total_memory_bytes()
        if total_bytes is None:
            return None
        room_bytes = total_bytes - int(self._mps.driver_allocated_memory())
        return max(0, min(room_bytes, memory_available_bytes()))

    def reset_peak_memory(self) -> None:
        self.empty_cache()

    def restart_peak_memory(self) -> None:
        self.reset_peak_memory()  # counted from zero, there is no baseline to keep

    def peak_memory_bytes(self) -> int | None:
        """Memory that Metal holds for this process now.

        torch keeps no peak for MPS. Its pool grows and gives nothing back until `empty_cache`,
        which the reset calls, so what it holds is the peak of the pool: an upper bound of that of
        tensors.
        """
        if self.unavailable_reason() is not None:
            return None
        return int(self._mps.driver_allocated_memory())

    def empty_cache(self) -> None:
        self._mps.empty_cache()

    def peak(self, dtype: str) -> tuple[float | None, str]:
        """The chip's peak, scaled to its GPU cores: Apple sells one name with several counts."""
        check_dtype(dtype)
        absent = self.unavailable_reason()
        if absent is not None:
            return None, f"unknown: {absent}"
        peaks = lookup(self.name)
        rate = peaks.flops_per_s(dtype) if peaks else None
        if peaks is None or rate is None:
            return None, f"unknown: no {dtype} rate is listed for {self.name!r}"
        source = f"spec: {peaks.source} (as of {peaks.source_date})"
        cores = self._core_count()
        if cores is None or peaks.gpu_cores is None or cores == peaks.gpu_cores:
            return rate, source
        scaled = f"{source}, scaled to the {cores} of {peaks.gpu_cores} GPU cores here"
        return rate * cores / peaks.gpu_cores, scaled

    def description(self) -> dict[str, Any]:
        absent = self.unavailable_reason()
        if absent is not None:
            return {"kind": self.kind, "index": self.index, "unavailable": absent}
        return {
            "kind": self.kind,
            "index": self.index,
            "name": self.name,
            "platform": "MPS",
            "platform_version": platform.mac_ver()[0] or None,
            "gpu_cores": self._core_count(),
            "total_memory_bytes": self.total_memory_bytes(),
        }

    def _core_count(self) -> int | None:
        cores = quietly(lambda: int(self._backend.get_core_count()), 0)
        return cores if cores > 0 else None
