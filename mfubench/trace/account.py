"""The account of a step: bars that add up to it, from what one device ran between two moments.

Every moment of the step is one bar's. Where several pieces of work ran at once, the moment belongs
to calculation before communication before copies, and among equals to what started first. So the
communication bar is exposed communication, and what a bar's kernels took in all is beside it
(`device_sum_s`). Where nothing ran, a reason for the idle time takes the moment (`idle.py`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mfubench.measure import components
from mfubench.trace import idle
from mfubench.trace.document import Bar, Gemm, Kernel, Step, Stream
from mfubench.trace.events import COPY, DeviceEvent, HostOp, Recording, starts_work
from mfubench.trace.flops import Work, dtype_of_kernel, work_of
from mfubench.trace.intervals import Interval, difference, exclusive, total, union
from mfubench.trace.kernels import UNLINKED, around, bar_of, is_communication
from mfubench.trace.steps import Window
from mfubench.trace.timeline import timeline

CALCULATION, NOT_LINKED, COLLECTIVE, COPYING = range(4)
"""In this order pieces of work that run at once get the moment."""

COUNTABLE = (components.GEMM, components.ATTENTION)
LISTED = 40
"""Kernels and products that a step lists at most, the longest first."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A device event with everything that was decided about it."""

    event: DeviceEvent
    bar: str
    order: int
    counted: HostOp | None
    """The operator whose FLOPs it shares in."""


class DeviceAccount:
    """What one device of one recording did, ready to be asked about any window."""

    def __init__(
        self, recording: Recording, device: int, peaks_flops_per_s: Mapping[str, float]
    ) -> None:
        self.recording = recording
        self.peaks = peaks_flops_per_s
        self.has_tf32 = "tf32" in peaks_flops_per_s or _is_ampere(recording)
        self.pieces = [_piece(e) for e in recording.device_events if e.device == device]
        self.events = [piece.event for piece in self.pieces]
        self._starts = [event.start for event in self.events]
        self._longest = max((e.end - e.start for e in self.events), default=0)
        self._work: dict[HostOp, Work] = {}
        self._kernel_ns: Counter[HostOp] = Counter()
        self._dtype: dict[HostOp, str] = {}
        for piece in self.pieces:
            if (op := piece.counted) is not None:
                self._kernel_ns[op] += piece.event.end - piece.event.start
                if op not in self._work and op.shapes and (work := work_of(op.name, op.shapes)):
                    self._work[op] = work
                if work := self._work.get(op):
                    # A product's other kernels (a reduction, say) do not name its format.
                    dtype = dtype_of_kernel(work.dtype, piece.event.name, has_tf32=self.has_tf32)
                    if self._dtype.setdefault(op, dtype) != "tf32":
                        self._dtype[op] = dtype
        self._waits = idle.Waits(recording)
        self._op_starts = sorted(op.start for op in recording.ops if op.kind == "op")
        launches = [call for call in recording.calls if starts_work(call.name)]
        self._launch_starts = [call.start for call in launches]
        self._graph_starts = [call.start for call in launches if call.is_graph]

    def step(self, window: Window, *, draw: bool) -> Step:
        """The account of one window; with its time line where it is to be drawn."""
        pieces = self._in(window)
        parts = [_clip(piece.event, window) for piece in pieces]
        alone = _alone(pieces, parts)
        busy = union(parts)
        gaps = difference([(window.start, window.end)], busy)
        idle_parts = idle.reasons(gaps, self.events, self._waits)
        collective = union(
            part for piece, part in zip(pieces, parts, strict=True) if piece.order == COLLECTIVE
        )
        exposed_ns = sum(
            total(own)
            for piece, own in zip(pieces, alone, strict=True)
            if piece.order == COLLECTIVE
        )
        gemms, flops, counted_ns, at_peak_s = self._gemms(pieces, parts)
        step_s = window.seconds
        return Step(
            name=window.name,
            rank=self.recording.rank,
            step_s=step_s,
            device_busy_s=total(busy) / 1e9,
            device_sum_s=total(parts) / 1e9,
            device_idle_s=total(gaps) / 1e9,
            unlinked_s=_sum_s(pieces, parts, lambda piece: not piece.event.is_linked),
            communication_s=total(collective) / 1e9,
            communication_exposed_s=exposed_ns / 1e9,
            earlier_launch_s=_sum_s(
                pieces,
                parts,
                lambda p: p.event.launch is not None and p.event.launch.start < window.start,
            ),
            operators=_between(self._op_starts, window),
            launches=_between(self._launch_starts, window),
            graph_launches=_between(self._graph_starts, window),
            flops=flops,
            counted_s=counted_ns / 1e9,
            countable_s=_sum_s(pieces, parts, lambda piece: piece.bar in COUNTABLE),
            mfu=None if at_peak_s is None or step_s <= 0 else at_peak_s / step_s,
            account=_bars(pieces, parts, alone, idle_parts, window),
            gemms=gemms,
            kernels=_kernels(pieces, parts),
            streams=_streams(pieces, parts),
            timeline=timeline(pieces, idle_parts, window) if draw else [],
        )

    def _in(self, window: Window) -> list[Piece]:
        first = bisect_left(self._starts, window.start - self._longest)
        last = bisect_left(self._starts, window.end)
        return [p for p in self.pieces[first:last] if p.event.end > window.start]

    def _gemms(
        self, pieces: Sequence[Piece], parts: Sequence[Interval]
    ) -> tuple[list[Gemm], float | None, int, float | None]:
        """Products by operator, sizes and format; all FLOPs; their ns; seconds at the peak."""
        found: dict[tuple[str, str, str], _Sum] = {}
        for piece, part in zip(pieces, parts, strict=True):
            op = piece.counted
            work = self._work.get(op) if op is not None else None
            if op is None or work is None:
                continue
            ns = part[1] - part[0]
            share = ns / self._kernel_ns[op] if self._kernel_ns[op] else 0.0
            entry = found.setdefault((op.name, work.sizes, self._dtype[op]), _Sum())
            entry.ns += ns
            entry.flops += work.flops * share
            entry.calls += share
            entry.kernels[piece.event.name] += ns
        if not found:
            return [], None, 0, None
        gemms = []
        at_peak_s: float | None = 0.0
        for (operator, sizes, dtype), entry in found.items():
            rate = entry.flops / (entry.ns / 1e9) if entry.ns else 0.0
            peak = self.peaks.get(dtype)
            at_peak_s = None if at_peak_s is None or not peak else at_peak_s + entry.flops / peak
            gemms.append(
                Gemm(
                    operator=operator,
                    sizes=sizes,
                    dtype=dtype,
                    calls=round(entry.calls, 3),
                    seconds=entry.ns / 1e9,
                    flops=entry.flops,
                    flops_per_s=rate,
                    of_peak=rate / peak if peak else None,
                    kernel=entry.kernels.most_common(1)[0][0],
                )
            )
        gemms.sort(key=lambda gemm: -gemm.seconds)
        flops = sum(gemm.flops for gemm in gemms)
        return gemms[:LISTED], flops, sum(entry.ns for entry in found.values()), at_peak_s

    def record(self) -> tuple[float, float, float, float, float]:
        """Over the whole recording: seconds from first to last device event, busy, communication,
        its exposed part, and what links to nothing."""
        if not self.events:
            return 0.0, 0.0, 0.0, 0.0, 0.0
        whole = Window("", self.events[0].start, max(event.end for event in self.events))
        parts = [(event.start, event.end) for event in self.events]
        alone = _alone(self.pieces, parts)
        pairs = list(zip(self.pieces, parts, strict=True))
        return (
            whole.seconds,
            total(union(parts)) / 1e9,
            total(union(part for piece, part in pairs if piece.order == COLLECTIVE)) / 1e9,
            sum(
                total(own)
                for piece, own in zip(self.pieces, alone, strict=True)
                if piece.order == COLLECTIVE
            )
            / 1e9,
            _sum_s(self.pieces, parts, lambda piece: not piece.event.is_linked),
        )


@dataclass(slots=True)
class _Sum:
    ns: int = 0
    flops: float = 0.0
    calls: float = 0.0
    kernels: Counter[str] = field(default_factory=Counter)


def _piece(event: DeviceEvent) -> Piece:
    bar = bar_of(event)
    if event.kind == COPY:
        order = COPYING
    elif is_communication(event.name):
        order = COLLECTIVE
    else:
        order = NOT_LINKED if bar == UNLINKED else CALCULATION
    counted = None
    if bar in COUNTABLE and event.launch is not None and not event.launch.is_graph:
        with_shapes = [op for op in around(event.op) if op.shapes is not None]
        counted = with_shapes[-1] if with_shapes else None
    return Piece(event, bar, order, counted)


def _is_ampere(recording: Recording) -> bool:
    """Whether the device has TF32, where its peaks are not known."""
    devices = recording.header.device_properties
    return any((d.compute_major or 0) >= 8 and d.warp_size == 32 for d in devices)


def _clip(event: DeviceEvent, window: Window) -> Interval:
    return max(event.start, window.start), min(event.end, window.end)


def _alone(pieces: Sequence[Piece], parts: Sequence[Interval]) -> list[list[Interval]]:
    """For each piece the moments that are its bar's."""
    alone: list[list[Interval]] = [[] for _ in pieces]
    taken: list[Interval] = []
    for order in range(COPYING + 1):
        indices = [i for i, piece in enumerate(pieces) if piece.order == order]
        own = exclusive([parts[i] for i in indices], taken)
        for index, intervals in zip(indices, own, strict=True):
            alone[index] = intervals
        taken = union([*taken, *(parts[i] for i in indices)])
    return alone


def _sum_s(
    pieces: Sequence[Piece], parts: Sequence[Interval], fits: Callable[[Piece], bool]
) -> float:
    return sum(high - low for p, (low, high) in zip(pieces, parts, strict=True) if fits(p)) / 1e9


def _between(starts: Sequence[int], window: Window) -> int:
    return bisect_left(starts, window.end) - bisect_left(starts, window.start)


def _bars(
    pieces: Sequence[Piece],
    parts: Sequence[Interval],
    alone: Sequence[list[Interval]],
    idle_parts: Mapping[str, list[Interval]],
    window: Window,
) -> list[Bar]:
    """The device's bars, the longest first, then the reasons for idle time."""
    own_ns: Counter[str] = Counter()
    sum_ns: Counter[str] = Counter()
    graph_ns: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for piece, (low, high), own in zip(pieces, parts, alone, strict=True):
        own_ns[piece.bar] += total(own)
        sum_ns[piece.bar] += high - low
        count[piece.bar] += window.start <= piece.event.start < window.end
        if piece.event.launch is not None and piece.event.launch.is_graph:
            graph_ns[piece.bar] += high - low
    bars = [
        Bar(
            name=name,
            seconds=own_ns[name] / 1e9,
            device_sum_s=sum_ns[name] / 1e9,
            kernels=count[name],
            graph_s=graph_ns[name] / 1e9,
        )
        for name in sum_ns
    ]
    last = (UNLINKED,)
    bars.sort(key=lambda bar: (bar.name in last, -bar.seconds, bar.name))
    reasons = [
        Bar(name=reason, seconds=total(idle_parts.get(reason, [])) / 1e9)
        for reason in idle.REASONS
        if total(idle_parts.get(reason, [])) > 0
    ]
    return bars + reasons


def _kernels(pieces: Sequence[Piece], parts: Sequence[Interval]) -> list[Kernel]:
    sums: dict[tuple[str, str], list[int]] = {}
    for piece, (low, high) in zip(pieces, parts, strict=True):
        entry = sums.setdefault((piece.event.name, piece.bar), [0, 0])
        entry[0] += 1
        entry[1] += high - low
    listed = sorted(sums.items(), key=lambda item: -item[1][1])[:LISTED]
    return [
        Kernel(name=name[:400], bar=bar, kernels=count, seconds=ns / 1e9)
        for (name, bar), (count, ns) in listed
    ]


def _streams(pieces: Sequence[Piece], parts: Sequence[Interval]) -> list[Stream]:
    by_stream: dict[str, list[Interval]] = {}
    for piece, part in zip(pieces, parts, strict=True):
        by_stream.setdefault(piece.event.stream, []).append(part)
    return [
        Stream(name=name, kernels=len(found), busy_s=total(union(found)) / 1e9)
        for name, found in sorted(by_stream.items(), key=lambda item: -total(item[1]))
    ]
