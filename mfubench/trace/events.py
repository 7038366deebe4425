"""What a trace is made of: what the device ran, what the host called, and in which operators."""

from __future__ import annotations

import functools
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mfubench.trace.read import Header

KERNEL, COPY, FILL = "kernel", "memcpy", "memset"
STEP_MARK = re.compile(r"ProfilerStep#(\d+)|mfubench::step")


@dataclass(slots=True, eq=False)
class HostOp:
    """An operator, a named range or a module's call on one thread of the host."""

    name: str
    kind: str
    """"op", "range" or "frame"."""
    start: int
    end: int
    thread: int | str
    external_id: int | None = None
    sequence: int | None = None
    is_backward: bool = False
    shapes: Shapes | None = None
    parent: HostOp | None = None


@dataclass(frozen=True, slots=True)
class Shapes:
    """An operator's recorded inputs: sizes, types and values, one per argument of its schema."""

    dims: tuple[Any, ...]
    types: tuple[str, ...]
    values: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class HostCall:
    """A call into the device's runtime or driver."""

    name: str
    start: int
    end: int
    thread: int | str
    correlation: int | None
    external_id: int | None
    op: HostOp | None = None
    """The innermost operator, range or frame around it."""

    @property
    def is_graph(self) -> bool:
        return "GraphLaunch" in self.name


@dataclass(slots=True, eq=False)
class DeviceEvent:
    """A kernel, copy or fill on one stream of a device."""

    name: str
    kind: str
    start: int
    end: int
    device: int
    stream: str
    correlation: int | None
    external_id: int | None
    moved_bytes: int | None = None
    launch: HostCall | None = None
    op: HostOp | None = None

    @property
    def is_linked(self) -> bool:
        """Whether the trace says which call on the host started it."""
        return self.launch is not None or self.op is not None


@dataclass(slots=True)
class Recording:
    """One trace of one process. Times are whole ns since `base_us`."""

    path: Path
    header: Header
    base_us: float = 0.0
    """The first time of the file; it may be written later than others."""
    device_events: list[DeviceEvent] = field(default_factory=list)
    """By start."""
    ops: list[HostOp] = field(default_factory=list)
    """Operators, ranges and frames of every thread, parents before children on each."""
    calls: list[HostCall] = field(default_factory=list)
    """Launches, copies, fills and waits; queries and other calls are let go."""
    marks: list[HostOp] = field(default_factory=list)
    """The ranges that mark steps, by start."""
    overheads: Counter[str] = field(default_factory=Counter)
    """Events of the profiler itself, by name."""

    @property
    def rank(self) -> int | None:
        return self.header.distributed.rank if self.header.distributed else None

    @property
    def world_size(self) -> int | None:
        return self.header.distributed.world_size if self.header.distributed else None


_STARTS = re.compile(
    r".*(Launch|Memcpy|Memset|memcpy|memset|Enqueue|AppendKernel|submit|ExecuteCommandList)\w*"
)
_WAITS = re.compile(r".*(Synchronize|synchronize|EventWait|QueueFinish|queue\.wait)\w*")


@functools.lru_cache(maxsize=4096)
def starts_work(name: str) -> bool:
    """Whether a call into the runtime puts a kernel, a copy or a graph into a stream.

    >>> [starts_work(n) for n in ("cudaLaunchKernelExC", "hipModuleLaunchKernel", "cudaEventQuery")]
    [True, True, False]
    """
    return _STARTS.fullmatch(name) is not None


def is_launch(name: str) -> bool:
    """Whether a call launches a kernel or a graph, rather than a copy or a fill.

    >>> is_launch("hipExtModuleLaunchKernel"), is_launch("cudaMemcpyAsync")
    (True, False)
    """
    return "Launch" in name and "HostFunc" not in name and starts_work(name)


@functools.lru_cache(maxsize=4096)
def waits(name: str) -> bool:
    """Whether a call into the runtime returns only when the device has finished.

    >>> waits("hipDeviceSynchronize"), waits("cudaStreamWaitEvent"), waits("cudaLaunchKernel")
    (True, False, False)
    """
    return _WAITS.fullmatch(name) is not None and "StreamWaitEvent" not in name


_CAPTURE = re.compile(r".*Stream(Begin|End)Capture\w*")


def begins_capture(name: str) -> bool | None:
    """Whether a call begins (True) or ends (False) the capture of a graph; None for any other.

    >>> begins_capture("cudaStreamBeginCapture_v2"), begins_capture("cudaStreamIsCapturing")
    (True, None)
    """
    match = _CAPTURE.fullmatch(name)
    return None if match is None else match[1] == "Begin"
