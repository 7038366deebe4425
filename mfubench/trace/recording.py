"""From a trace as it is written to a recording: events of every age and vendor made alike, and each
kernel joined with the call that launched it.

torch 1.11 and before wrote other category names ("Kernel", "Runtime", "Operator") and gave kernels
ids of their own; AMD's and Intel's runtimes have other function names. All of it ends here.
"""

from __future__ import annotations

import functools
import gc
import math
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from mfubench.trace.events import (
    COPY,
    FILL,
    KERNEL,
    STEP_MARK,
    DeviceEvent,
    HostCall,
    HostOp,
    Recording,
    Shapes,
    begins_capture,
    starts_work,
    waits,
)
from mfubench.trace.link import link, nest
from mfubench.trace.read import Event, Header, TraceError, TraceReader

LATEST_US = 1e21
"""Far beyond nanoseconds since the epoch, and far below what overflows."""
MAX_EVENTS = 1_000_000
"""Events that are kept; beyond it a trace is refused, so that memory stays bounded."""

_DEVICE = {
    "kernel": KERNEL,
    "gpu_memcpy": COPY,
    "gpu_memset": FILL,
    "memcpy": COPY,
    "memset": FILL,
}
_HOST_CALLS = re.compile(r"(cuda|xpu|hip|mtia|privateuse1|hpu)_(runtime|driver)|runtime|driver")
_OPERATORS = frozenset({"cpu_op", "operator"})
_RANGES = frozenset({"user_annotation"})
_PYTHON = frozenset({"python_function", "python"})
_FRAMES = re.compile(r"nn\.Module: \w+?_\d+$|.*\bclip_grad(_norm|_value)?\w*$")
"""The Python frames that say something of the operators inside: modules and gradient clipping."""
_WITH_SHAPES = re.compile(
    r"aten::(_?addmm\w*|mm|bmm|baddbmm|_scaled_mm|_int_mm|linear|_?convolution\w*|cudnn_convolution"
    r"|miopen_convolution|_?(scaled_dot_product|flash|efficient|cudnn)_\w*attention\w*)"
)
"""Operators whose shapes are kept, because FLOPs are counted from them."""


def read_recording(path: Path) -> Recording:
    """Read and link one trace. Raises TraceError in one sentence."""
    reader = TraceReader(path)
    builder = _Builder(path, reader.header)
    collects = gc.isenabled()
    gc.disable()  # nothing here is garbage, and looking for some doubles the time
    try:
        for piece in reader.pieces():
            builder.add(piece)
        recording = builder.recording
        recording.header = reader.header
        _refuse_what_is_no_profile(recording, builder.seen)
        _refuse_other_units(recording)
        nest(recording)
        link(recording)
    finally:
        if collects:
            gc.enable()
    return recording


class _Builder:
    """Turns events as written into events as needed, piece by piece."""

    def __init__(self, path: Path, header: Header) -> None:
        self.recording = Recording(path=path, header=header)
        self.seen: Counter[str] = Counter()
        self._names: dict[str, str] = {}
        self._shapes: dict[tuple[bytes, bytes, bytes], Shapes | None] = {}
        self._base: float | None = None

    def add(self, events: Iterable[Event]) -> None:
        recording = self.recording
        for event in events:
            if event.ph != "X" or not event.cat:
                continue
            category = event.cat.casefold()
            self.seen[category] += 1
            if category in _PYTHON and _FRAMES.match(event.name) is None:
                continue
            if not (0 <= event.dur < LATEST_US and -LATEST_US < event.ts < LATEST_US):  # or NaN
                raise TraceError(
                    f"{recording.path} has an event that lasts {event.dur:g} µs from "
                    f"{event.ts:g}; times must be finite and not negative"
                )
            if category in _DEVICE:
                self._add_device(event, _DEVICE[category])
            elif category in _OPERATORS or category in _PYTHON:
                self._add_op(event, "op" if category in _OPERATORS else "frame")
            elif category in _RANGES:
                self._add_op(event, "range")
            elif _HOST_CALLS.fullmatch(category):
                self._add_call(event)
            elif category == "overhead":
                recording.overheads[event.name] += 1
        if self._kept() > MAX_EVENTS:
            raise TraceError(
                f"{recording.path} holds more than {MAX_EVENTS:,} events; profile fewer steps"
            )

    def _kept(self) -> int:
        r = self.recording
        return len(r.device_events) + len(r.ops) + len(r.calls)

    def _times(self, event: Event) -> tuple[int, int]:
        if self._base is None:
            self._base = self.recording.base_us = float(math.floor(event.ts))
        start = round((event.ts - self._base) * 1000)
        return start, start + round(event.dur * 1000)

    def _name(self, name: str) -> str:
        return self._names.setdefault(name, name)

    def _add_device(self, event: Event, kind: str) -> None:
        args = event.args
        start, end = self._times(event)
        device = _whole(args.device) if args else None
        if device is None:
            device = _whole(event.pid) or 0
        stream = args.stream if args and args.stream is not None else event.tid
        self.recording.device_events.append(
            DeviceEvent(
                name=self._name(event.name),
                kind=kind,
                start=start,
                end=end,
                device=device,
                stream=self._name(str(stream).removeprefix("stream ")),
                correlation=_whole(args.correlation) if args else None,
                external_id=_external(event),
                moved_bytes=_whole(args.bytes) if args else None,
            )
        )

    def _add_op(self, event: Event, kind: str) -> None:
        start, end = self._times(event)
        args = event.args
        op = HostOp(
            name=self._name(event.name),
            kind=kind,
            start=start,
            end=end,
            thread=event.tid,
            external_id=_external(event),
            sequence=_whole(args.sequence) if args else None,
            is_backward=bool(args and args.forward_thread),
        )
        if kind == "range" and STEP_MARK.fullmatch(event.name):
            self.recording.marks.append(op)
            return
        if args and _has_shapes(event.name):
            op.shapes = self._shapes_of(event)
        self.recording.ops.append(op)

    def _add_call(self, event: Event) -> None:
        if not _is_kept(event.name):
            return
        start, end = self._times(event)
        args = event.args
        self.recording.calls.append(
            HostCall(
                name=self._name(event.name),
                start=start,
                end=end,
                thread=event.tid,
                correlation=_whole(args.correlation) if args else None,
                external_id=_external(event),
            )
        )

    def _shapes_of(self, event: Event) -> Shapes | None:
        args = event.args
        assert args is not None
        dims = bytes(args.dims) or bytes(args.old_dims)
        key = (dims, bytes(args.types), bytes(args.concrete))
        if key not in self._shapes:
            self._shapes[key] = _shapes(*key)
        return self._shapes[key]


def _shapes(dims: bytes, types: bytes, concrete: bytes) -> Shapes | None:
    try:
        return Shapes(
            dims=tuple(msgspec.json.decode(dims, type=list[Any])),
            types=tuple(msgspec.json.decode(types or b"[]", type=list[str])),
            values=tuple(map(str, msgspec.json.decode(concrete or b"[]", type=list[Any]))),
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None  # no shapes were recorded, or not as torch writes them


def _external(event: Event) -> int | None:
    if event.args is None:
        return None
    found = event.args.external_id
    return _whole(event.args.old_external_id if found is None else found)


def _whole(value: object) -> int | None:
    """A whole number that is written as one, or as a text; None for anything else.

    >>> _whole(7), _whole("7"), _whole("0x0"), _whole(None), _whole(1.5)
    (7, 7, 0, None, None)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and len(value) < 20:
        try:
            return int(value, 0)
        except ValueError:
            return None
    return None


@functools.lru_cache(maxsize=4096)
def _has_shapes(operator: str) -> bool:
    return _WITH_SHAPES.fullmatch(operator) is not None


@functools.lru_cache(maxsize=4096)
def _is_kept(call: str) -> bool:
    return starts_work(call) or waits(call) or begins_capture(call) is not None


def _refuse_what_is_no_profile(recording: Recording, seen: Counter[str]) -> None:
    if recording.device_events or recording.ops:
        return
    if recording.calls or any(name in seen for name in (*_OPERATORS, *_DEVICE, *_PYTHON)):
        return
    kinds = ", ".join(repr(name[:30]) for name, _ in seen.most_common(3))
    raise TraceError(
        f"{recording.path} is no trace of torch.profiler: no operator and no kernel is in it"
        + (f", only events of kind {kinds}" if kinds else "")
    )


def _refuse_other_units(recording: Recording) -> None:
    """Kineto writes microseconds. Other units show in a date of the far future, or in kernels that
    last less than a clock cycle or two."""
    if recording.base_us > 1e17:
        raise TraceError(
            f"{recording.path} has times that are no microseconds (nanoseconds, perhaps): as "
            "microseconds they lie after the year 5000; give the trace as torch.profiler wrote it"
        )
    durations = sorted(e.end - e.start for e in recording.device_events if e.kind == KERNEL)
    if len(durations) >= 10 and durations[len(durations) // 2] < 100:
        raise TraceError(
            f"{recording.path} has times that are no microseconds (milliseconds or seconds, "
            "perhaps): half of its kernels would last less than 0.1 µs; give the trace as "
            "torch.profiler wrote it"
        )
