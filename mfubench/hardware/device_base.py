"""What every device can be asked, whatever is behind it."""

from __future__ import annotations

import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch

from mfubench.timing import time_s

DeviceKind = Literal["cpu", "cuda", "xpu", "mps"]

_T = TypeVar("_T")


class Device(ABC):
    """A device of this machine, present or not.

    An absent one answers too: `unavailable_reason` says why, sizes and peaks are None, and only
    what would have to run on it (`synchronise`, `empty_cache`) may raise torch's own error.
    """

    kind: DeviceKind
    """torch's device type; an AMD GPU under ROCm is "cuda", as torch has it."""
    index: int = 0
    """Which of several devices of this kind."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What the device calls itself, or its kind where it is absent."""

    @property
    def torch_device(self) -> torch.device:
        """What to hand to torch."""
        return torch.device(self.kind)

    @abstractmethod
    def unavailable_reason(self) -> str | None:
        """Why the device cannot be used, None where it can."""

    @abstractmethod
    def synchronise(self) -> None:
        """Wait until everything that was queued on the device has been done."""

    @property
    def has_queue(self) -> bool:
        """Whether the host runs ahead of the device: what was called may still be to do."""
        return self.kind != "cpu"

    def busy_s(self, run: Callable[[], object]) -> float:
        """Seconds that the device is busy with what one call of `run` asks of it.

        On a device with a queue this is its own time from the first to the last of the work, and
        `run` is called twice: the first call keeps the device busy until all of the second is in
        the queue, so that a launch is not waited for. On a CPU it is the time of the call.
        """

        def finished() -> None:
            run()
            self.synchronise()

        return time_s(finished)

    def captured(self, run: Callable[[], object]) -> Callable[[], object] | None:
        """What `run` launches as one launch, None where that cannot be. `run` has been called
        before, and gives no value that the host reads."""
        return None

    @abstractmethod
    def unsupported_reason(self, dtype: str) -> str | None:
        """Why a step in ``dtype`` cannot run here, None where it can."""

    @abstractmethod
    def native_dtypes(self) -> tuple[str, ...]:
        """The dtypes worth measuring unless others are asked for: those with their own hardware."""

    @abstractmethod
    def total_memory_bytes(self) -> int | None:
        """Memory of the device, within what a container allows."""

    @abstractmethod
    def available_memory_bytes(self) -> int | None:
        """Memory that could be allocated now."""

    @abstractmethod
    def reset_peak_memory(self) -> None:
        """Start a new measurement of peak memory. Call it before anything to be counted exists."""

    def restart_peak_memory(self) -> None:
        """Forget the peak but keep what it is measured from: a compiler's own memory, needed for a
        moment, is not the training step's."""
        self.reset_peak_memory()  # where it is counted from zero there is no baseline to keep

    @abstractmethod
    def peak_memory_bytes(self) -> int | None:
        """Highest memory use since `reset_peak_memory`, None where it cannot be known.

        On an accelerator: bytes in tensors, counted by torch's allocator. On the CPU: growth of the
        process's resident memory, so that what existed at the reset is not in it.
        """

    def peak_reserved_bytes(self) -> int | None:
        """Highest memory that torch held for tensors since `reset_peak_memory`, its cache included:
        what must fit. None where it is not told apart."""
        return None

    def state(self) -> dict[str, Any]:
        """Clock, power, temperature and what holds the clocks back, now; empty where nothing tells.
        Asked while the device works: an idle one lowers its clocks."""
        return {}

    def cache_bytes(self) -> int:
        """The largest cache in front of the memory; 0 where it is not known."""
        return 0

    @abstractmethod
    def empty_cache(self) -> None:
        """Give memory that torch keeps for later back to the device or the system."""

    @abstractmethod
    def peak(self, dtype: str) -> tuple[float | None, str]:
        """Spec peak in FLOP/s and where it is from; (None, why) where it is not known."""

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """What a result says about the device; JSON types only, None where unreadable."""


#: How an allocation that failed reads in what torch, its backends and compilers raise.
_OUT_OF_MEMORY = re.compile(
    r"out of memory"  # CUDA, HIP, XPU, "MPS backend out of memory"
    r"|defaultcpuallocator: (?:can't allocate memory|not enough memory)"
    r"|not enough memory: you tried to allocate"
    r"|cannot allocate memory"
    r"|out_of_(?:device|host)_memory|out_of_resources"  # Level Zero and SYCL
    r"|(?:cublas|hipblas)_status_alloc_failed"
    r"|invalid buffer size"  # MPS, for a single tensor that is too large
    r"|std::bad_alloc",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or the one that it was raised from, says that memory ran out.

    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ..."))
    True
    >>> is_out_of_memory(ValueError("size mismatch"))
    False
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if isinstance(current, (torch.OutOfMemoryError, MemoryError)):
            return True
        if _OUT_OF_MEMORY.search(str(current)):
            return True
        current = current.__cause__  # a compiler wraps the backend's error
    return False


def quietly(ask: Callable[[], _T], otherwise: _T) -> _T:
    """Ask a backend something that may fail in any way, without its warnings.

    For provenance and for probing only: a driver that cannot tell its clock, an older torch without
    a function, a missing library must not stop a measurement.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ask()
        except Exception:
            return otherwise
