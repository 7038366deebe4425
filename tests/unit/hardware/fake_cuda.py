"""torch.cuda as far as it is used, for a machine without a GPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from mfubench.hardware.devices import CudaDevice

GIB = 2**30


def version(**kinds: str) -> SimpleNamespace:
    known = {"cuda": None, "hip": None, "xpu": None, **kinds}
    return SimpleNamespace(__version__="2.13.0+fake", **known)


class FakeCuda:
    """torch.cuda as far as it is used; it keeps what was called."""

    def __init__(self, name: str, capability: tuple[int, int] = (8, 0), count: int = 1) -> None:
        self.name, self.capability, self.count = name, capability, count
        self.calls: list[str] = []
        self.properties = SimpleNamespace(
            major=capability[0],
            minor=capability[1],
            multi_processor_count=108,
            total_memory=int(79.2 * GIB),
            gcnArchName="gfx942:sramecc+:xnack-",
            pci_domain_id=0,
            pci_bus_id=0x41,
            pci_device_id=0,
        )

    def is_available(self) -> bool:
        return self.count > 0

    def device_count(self) -> int:
        return self.count

    def init(self) -> None:
        raise RuntimeError("Found no NVIDIA driver on your system. Please check ...\nmore text")

    def get_device_name(self, index: int) -> str:
        return self.name

    def get_device_capability(self, index: int) -> tuple[int, int]:
        return self.capability

    def get_device_properties(self, index: int) -> SimpleNamespace:
        return self.properties

    def mem_get_info(self, index: int) -> tuple[int, int]:
        return 10 * GIB, 80 * GIB

    def memory_reserved(self, index: int) -> int:
        return 5 * GIB

    def memory_allocated(self, index: int) -> int:
        return 2 * GIB

    def max_memory_allocated(self, index: int) -> int:
        return 3 * GIB

    def clock_rate(self, index: int) -> int:
        raise ModuleNotFoundError("nvidia-ml-py does not seem to be installed")

    def synchronize(self, index: int) -> None:
        self.calls.append(f"synchronize {index}")

    def reset_peak_memory_stats(self, index: int) -> None:
        self.calls.append(f"reset {index}")

    def empty_cache(self) -> None:
        self.calls.append("empty")


def cuda(fake: FakeCuda, index: int = 0, **kinds: Any) -> CudaDevice:
    return CudaDevice(index, torch_cuda=fake, torch_version=version(**(kinds or {"cuda": "12.8"})))
