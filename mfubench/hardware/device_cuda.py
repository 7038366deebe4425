"""NVIDIA GPUs, and AMD GPUs under ROCm: torch drives both through ``torch.cuda``."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import torch

from mfubench.hardware.device_base import DeviceKind, quietly
from mfubench.hardware.device_gpu import GpuDevice
from mfubench.hardware.nvidia_smi import gpu_state
from mfubench.hardware.pci import display_devices
from mfubench.hardware.textfile import text_of

_FIRST_CAPABILITY_WITH_TF32 = (8, 0)  # Ampere brought both TF32 and bfloat16
_ROCM_ARCHS_WITH_TF32 = ("gfx94", "gfx95")  # those for which torch itself says so
_INFINITY_CACHE_BYTES = 256 * 2**20
"""Of the same GPUs, MI300 and MI350 (AMD's CDNA 3 and CDNA 4 white papers); torch names the L2."""


class CudaDevice(GpuDevice):
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
        super().__init__(index, torch_cuda, torch_version)
        self._sysfs = sysfs

    @property
    def _platform(self) -> str:
        return "ROCm" if self._version.hip else "CUDA"

    @property
    def name(self) -> str:
        name = super().name
        return f"{name} (ROCm)" if self._version.hip and name != self.kind else name

    def _built(self) -> bool:
        return bool(self._version.cuda or self._version.hip)

    def _missing(self) -> str:
        """torch keeps the driver's own words for whoever initialises it."""

        def complaint() -> str:
            try:
                self._module.init()
            except Exception as error:
                return str(error).strip().partition("\n")[0]
            return "the driver lists none"

        return quietly(complaint, "the driver lists none")

    def unavailable_reason(self) -> str | None:
        return super().unavailable_reason() or self._not_built_for()

    def _not_built_for(self) -> str | None:
        """A card that this torch has no code for is listed by the driver like any other, and fails
        at its first kernel. None where torch does not say what it was built for."""
        nothing: list[str] = []
        built = quietly(lambda: [str(arch) for arch in self._module.get_arch_list()], nothing)
        if not built or "HSA_OVERRIDE_GFX_VERSION" in os.environ:
            return None
        if self._version.hip:
            arch = self._gcn_arch().partition(":")[0]
            fits = arch in {b.partition(":")[0] for b in built} or not arch.startswith("gfx")
        else:
            major, minor = self._module.get_device_capability(self.index)
            arch = f"sm_{major}{minor}"
            fits = any(_runs(code, major, minor) for code in built)
        if fits:
            return None
        return (
            f"this torch was not built for {self._name()} ({arch}), only for {', '.join(built)}: "
            f"torch {self._version.__version__}"
        )

    def _gcn_arch(self) -> str:
        return str(getattr(self._properties(), "gcnArchName", "unknown"))

    def state(self) -> dict[str, Any]:
        uuid = None if self._version.hip else getattr(self._properties(), "uuid", None)
        return (gpu_state(str(uuid)) if uuid else {}) or super().state()

    def cache_bytes(self) -> int:
        l2_bytes = super().cache_bytes()
        if self._version.hip and self._gcn_arch().startswith(_ROCM_ARCHS_WITH_TF32):
            return max(l2_bytes, _INFINITY_CACHE_BYTES)
        return l2_bytes

    def _unsupported(self, dtype: str) -> str | None:
        if dtype not in ("tf32", "bfloat16"):
            return None
        if self._version.hip:
            arch = self._gcn_arch()
            if dtype == "tf32" and not arch.startswith(_ROCM_ARCHS_WITH_TF32):
                return f"tf32 under ROCm needs an MI300-class GPU (gfx94x), this one is {arch}"
            return None
        major, minor = self._module.get_device_capability(self.index)
        if (major, minor) < _FIRST_CAPABILITY_WITH_TF32:
            return f"{dtype} needs compute capability 8.0, this device has {major}.{minor}"
        return None

    def _details(self) -> dict[str, Any]:
        properties = self._properties()
        module = "amdgpu" if self._version.hip else "nvidia"
        return {
            "platform_version": self._version.hip or self._version.cuda,
            "driver": text_of(self._sysfs / "module" / module / "version") or None,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "gcn_arch": getattr(properties, "gcnArchName", None) if self._version.hip else None,
            "multiprocessors": properties.multi_processor_count,
            "total_memory_bytes": int(properties.total_memory),
            "pci_ids": quietly(lambda: self._pci_ids(properties), None),
            "clock_mhz": self._clock_mhz(),
            "temperature_c": quietly(lambda: int(self._module.temperature(self.index)), None),
        }

    def _pci_ids(self, properties: Any) -> str | None:
        """Vendor and device id, found in sysfs by the address that torch gives."""
        domain, bus, device = (
            getattr(properties, f"pci_{part}_id") for part in ("domain", "bus", "device")
        )
        address = f"{domain:04x}:{bus:02x}:{device:02x}.0"
        found = (pci for pci in display_devices(self._sysfs) if pci.address == address)
        return next((pci.ids for pci in found), None)


def _runs(code: str, major: int, minor: int) -> bool:
    """Whether code that torch was built with runs on a capability: binaries ("sm_86") on their own
    generation from their number on, PTX ("compute_90") on all that are newer.

    >>> _runs("sm_80", 8, 6), _runs("sm_86", 8, 0), _runs("compute_90", 12, 0)
    (True, False, True)
    """
    match = re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", code)
    if match is None:
        return False
    kind, built = match[1], (int(match[2]), int(match[3]))
    return built <= (major, minor) and (kind == "compute" or built[0] == major)
