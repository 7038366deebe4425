"""What all GPUs share, whoever made them: torch drives each kind through a module of its own."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch

from mfubench.hardware.device_base import Device, quietly
from mfubench.hardware.dtypes import check_dtype
from mfubench.hardware.peaks import lookup


class GpuDevice(Device):
    """One GPU behind ``module``: `torch.cuda`, `torch.xpu` or `torch.mps`, or a test's fake.

    A subclass says what `_built`, `_missing` and `_unsupported` are on its platform, and adds to
    the description. What asks `module` is called only where the device is there.
    """

    def __init__(self, index: int, module: Any, version: Any) -> None:
        self.index = index
        self._module = module
        self._version = version

    @property
    def name(self) -> str:
        return self.kind if self.unavailable_reason() is not None else self._name()

    def _name(self) -> str:
        return str(self._module.get_device_name(self.index))

    @property
    def _platform(self) -> str:
        return self.kind.upper()

    @property
    def torch_device(self) -> torch.device:
        return torch.device(self.kind, self.index)

    @abstractmethod
    def _built(self) -> bool:
        """Whether this build of torch has the platform."""

    @abstractmethod
    def _missing(self) -> str:
        """Why the platform may have found no device."""

    @abstractmethod
    def _unsupported(self, dtype: str) -> str | None:
        """`unsupported_reason` of a device that is there."""

    def _available(self) -> bool:
        return bool(self._module.is_available())

    def _properties(self) -> Any:
        return self._module.get_device_properties(self.index)

    def unavailable_reason(self) -> str | None:
        build = f"torch {self._version.__version__}"
        if not quietly(self._built, False):
            return f"this torch build has no {self.kind.upper()}: {build}"
        if not quietly(self._available, False):
            return f"{self._platform} found no device: {self._missing()} ({build})"
        count = quietly(lambda: int(self._module.device_count()), 0)
        if self.index >= count:
            plural = "device" if count == 1 else "devices"
            return f"there is no {self.kind}:{self.index}: {self._platform} found {count} {plural}"
        return None

    def unsupported_reason(self, dtype: str) -> str | None:
        check_dtype(dtype)
        return self.unavailable_reason() or self._unsupported(dtype)

    def native_dtypes(self) -> tuple[str, ...]:
        single = "float32" if self.unsupported_reason("tf32") else "tf32"
        half = "float16" if self.unsupported_reason("bfloat16") else "bfloat16"
        return single, half

    def synchronise(self) -> None:
        self._module.synchronize(self.index)

    def _current(self) -> contextlib.AbstractContextManager[Any]:
        """Makes this device of several the one that events and graphs are of."""
        several = getattr(self._module, "device", None)
        return several(self.index) if several is not None else contextlib.nullcontext()

    def busy_s(self, run: Callable[[], object]) -> float:
        """Between two events of the device; by the host's clock where torch has no events."""
        event = getattr(self._module, "Event", None)
        if event is None:
            return super().busy_s(run)
        with self._current():
            start, end = event(enable_timing=True), event(enable_timing=True)
            run()
            start.record()
            run()
            end.record()
            end.synchronize()
        return float(start.elapsed_time(end)) * 1e-3

    def captured(self, run: Callable[[], object]) -> Callable[[], object] | None:
        """As a CUDA graph (or HIP graph)."""
        if getattr(self._module, "CUDAGraph", None) is None:
            return None

        def capture() -> Callable[[], object]:
            graph = self._module.CUDAGraph()
            with self._current(), self._module.graph(graph):
                run()
            replay: Callable[[], object] = graph.replay
            return replay

        return quietly(capture, None)

    def empty_cache(self) -> None:
        self._module.empty_cache()

    def total_memory_bytes(self) -> int | None:
        if self.unavailable_reason() is not None:
            return None
        return int(self._properties().total_memory)

    def available_memory_bytes(self) -> int | None:
        """Free on the device, plus what torch holds in its cache without a tensor in it; where an
        integrated GPU does not tell, its total less what torch reserved counts as free."""
        total_bytes = self.total_memory_bytes()
        if total_bytes is None:
            return None
        reserved_bytes = int(self._module.memory_reserved(self.index))
        allocated_bytes = int(self._module.memory_allocated(self.index))
        free_bytes = quietly(
            lambda: int(self._module.mem_get_info(self.index)[0]), total_bytes - reserved_bytes
        )
        return max(0, free_bytes + reserved_bytes - allocated_bytes)

    def reset_peak_memory(self) -> None:
        self.empty_cache()
        self._module.reset_peak_memory_stats(self.index)

    def peak_memory_bytes(self) -> int | None:
        if self.unavailable_reason() is not None:
            return None
        return int(self._module.max_memory_allocated(self.index))

    def peak_reserved_bytes(self) -> int | None:
        if self.unavailable_reason() is not None:
            return None
        return quietly(lambda: int(self._module.max_memory_reserved(self.index)), None)

    def state(self) -> dict[str, Any]:
        module, index = self._module, self.index
        found = {
            "clock_mhz": self._clock_mhz(),
            "power_w": quietly(lambda: module.power_draw(index) / 1000, None),
            "temperature_c": quietly(lambda: int(module.temperature(index)), None),
        }
        return {name: value for name, value in found.items() if value is not None}

    def cache_bytes(self) -> int:
        return quietly(lambda: int(self._properties().L2_cache_size), 0)

    def peak(self, dtype: str) -> tuple[float | None, str]:
        check_dtype(dtype)
        if absent := self.unavailable_reason():
            return None, f"unknown: {absent}"
        name = self._name()
        peaks = lookup(name, memory_bytes=self.total_memory_bytes())
        rate = peaks.flops_per_s(dtype) if peaks else None
        if peaks is None or rate is None:
            what = f"{dtype} rate" if peaks else "spec peak"
            return None, f"unknown: no {what} is listed for {name!r}"
        return rate, f"spec: {peaks.source} (as of {peaks.source_date})"

    def description(self) -> dict[str, Any]:
        head: dict[str, Any] = {"kind": self.kind, "index": self.index}
        if absent := self.unavailable_reason():
            return {**head, "unavailable": absent}
        return {**head, "name": self.name, "platform": self._platform, **self._details()}

    @abstractmethod
    def _details(self) -> dict[str, Any]:
        """What is described beyond kind, index, name and platform."""

    def _clock_mhz(self) -> int | None:
        """None where the maker's management library is missing beside torch."""
        return quietly(lambda: int(self._module.clock_rate(self.index)), None)
