"""The CPU as a device."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from pathlib import Path
from typing import Any

from mfubench.hardware.cpu import derived_peak, usable_cores
from mfubench.hardware.cpu_clock import clock_hz
from mfubench.hardware.cpu_identity import CpuIdentity, cpu_identity
from mfubench.hardware.cpu_isa import has_fast_bfloat16
from mfubench.hardware.device_base import Device, DeviceKind, quietly
from mfubench.hardware.dtypes import check_dtype
from mfubench.hardware.fingerprint import relevant_flags
from mfubench.hardware.memory import (
    last_level_cache_bytes,
    memory_available_bytes,
    memory_total_bytes,
)
from mfubench.hardware.textfile import text_of

_IDENTITY = ("vendor", "family", "model", "stepping", "arch")

#: proc(5): writing 5 resets the peak resident size ("high water mark") to the current size.
_RESET_HIGH_WATER_MARK = "5"


class CpuDevice(Device):
    """The CPU. Peak memory is the growth of resident memory, which only Linux lets one reset."""

    kind: DeviceKind = "cpu"

    def __init__(
        self, identity: CpuIdentity | None = None, proc_self: Path = Path("/proc/self")
    ) -> None:
        self._identity = identity or cpu_identity()
        self._proc_self = proc_self
        self._baseline_bytes: int | None = None

    @property
    def name(self) -> str:
        return self._identity.model_name

    def unavailable_reason(self) -> str | None:
        return None

    def synchronise(self) -> None:
        """Nothing to wait for: an operation on the CPU returns when it is done."""

    def unsupported_reason(self, dtype: str) -> str | None:
        """float16 and bfloat16 always run: torch has kernels for both under autocast, on any CPU.

        Where the CPU has no arithmetic for them they convert and are slow, which is for a
        measurement to show and no reason to refuse.
        """
        if check_dtype(dtype) == "tf32":
            return "tf32 is a format of GPU matrix units, the CPU has none"
        return None

    def native_dtypes(self) -> tuple[str, ...]:
        """float32, and bfloat16 only where the CPU multiplies in it rather than converts."""
        return ("float32", "bfloat16") if has_fast_bfloat16(self._identity) else ("float32",)

    def total_memory_bytes(self) -> int | None:
        return memory_total_bytes()

    def available_memory_bytes(self) -> int | None:
        return memory_available_bytes()

    def reset_peak_memory(self) -> None:
        """Hand free heap pages back, reset the high water mark, and note where it stands now.

        Without the first, a step that reuses freed pages would seem to need no memory.
        """
        self._baseline_bytes = self._high_water_mark_bytes() if self._restart() else None

    def restart_peak_memory(self) -> None:
        if not self._restart():
            self._baseline_bytes = None

    def _restart(self) -> bool:
        """Hand free pages back, set the high water mark to what is in use; False if it stayed."""
        self.empty_cache()
        try:
            (self._proc_self / "clear_refs").write_text(_RESET_HIGH_WATER_MARK, encoding="ascii")
        except OSError:
            return False
        return True

    def peak_memory_bytes(self) -> int | None:
        peak_bytes = self._high_water_mark_bytes()
        if self._baseline_bytes is None or peak_bytes is None:
            return None
        return max(0, peak_bytes - self._baseline_bytes)

    def cache_bytes(self) -> int:
        return last_level_cache_bytes()

    def empty_cache(self) -> None:
        gc.collect()
        if sys.platform.startswith("linux"):
            # glibc only; musl has no malloc_trim and returns memory by itself.
            quietly(lambda: ctypes.CDLL(None).malloc_trim(0), 0)

    def peak(self, dtype: str) -> tuple[float | None, str]:
        if dtype == "tf32":
            return None, "unknown: tf32 is a format of GPU matrix units"
        derived = derived_peak(dtype, identity=self._identity)
        if derived is None:
            return None, f"unknown: FLOPs per cycle or clock of {self.name!r} are not known"
        return derived.flops_per_s, derived.source

    def description(self) -> dict[str, Any]:
        identity, cores, clock = self._identity, usable_cores(), clock_hz()
        return {
            "kind": self.kind,
            "name": self.name,
            **{key: getattr(identity, key) for key in _IDENTITY},
            "instruction_sets": relevant_flags(identity.flags),
            "virtualised": identity.virtualised,
            "usable_cores": cores.count,
            "usable_cores_source": cores.source,
            "clock_hz": clock.hz,
            "clock_source": clock.source,
            "clock_reported_hz": clock.reported_hz,
            "clock_max_hz": clock.max_hz,
            "clock_measured_hz": clock.measured_hz,
            "total_memory_bytes": self.total_memory_bytes(),
        }

    def _high_water_mark_bytes(self) -> int | None:
        """VmHWM of /proc/self/status, which is in kB (1024 bytes)."""
        status = text_of(self._proc_self / "status")
        found = re.search(r"^VmHWM:\s*(\d+)", status, re.MULTILINE)
        return int(found[1]) * 1024 if found else None
