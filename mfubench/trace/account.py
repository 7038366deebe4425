"""The account of a step: bars that add up to it, from what one device ran between two moments.

Every moment of the step is one bar's: where something ran, as `shares.py` gives it (so the
communication bar is exposed communication, and what a bar's kernels took in all stands beside it as
`device_sum_s`); where nothing ran, a reason for the idle time, as `idle.py` finds it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mfubench.analysis.intervals import Interval, difference, total, union
from mfubench.trace import idle
from mfubench.trace.bars import UNLINKED
from mfubench.trace.document import Bar, Kernel, Step, Stream
from mfubench.trace.events import Recording, starts_work
from mfubench.trace.products import Products
from mfubench.trace.shares import (
    COUNTABLE,
    Share,
    communication_ns,
    piece_of,
    shares_of,
    unlinked_ns,
)
from mfubench.trace.steps import Window
from mfubench.trace.timeline import timeline

MOSTLY_LINKED = 0.02
"""A step of which more links to nothing stands for no other."""
LISTED = 40
"""Kernels and products that a step lists at most, the longest first."""


@dataclass(frozen=True, slots=True)
class Whole:
    """What a device did from its first recorded event to the end of its last, in seconds."""

    seconds: float
    busy_s: float
    communication_s: float
    exposed_s: float
    unlinked_s: float


class DeviceAccount:
    """What one device of one recording did, ready to be asked about any window."""

    def __init__(
        self, recording: Recording, device: int, peaks_flops_per_s: Mapping[str, float]
    ) -> None:
        self.recording = recording
        self.pieces = [piece_of(e) for e in recording.device_events if e.device == device]
        self.events = [piece.event for piece in self.pieces]
        self._starts = [event.start for event in self.events]
        self._longest = max((e.end - e.start for e in self.events), default=0)
        has_tf32 = "tf32" in peaks_flops_per_s or _is_ampere(recording)
        self._products = Products(self.pieces, peaks_flops_per_s, has_tf32=has_tf32)
        self._waits = idle.Waits(recording)
        self._op_starts = sorted(op.start for op in recording.ops if op.kind == "op")
        launches = [call for call in recording.calls if starts_work(call.name)]
        self._launch_starts = [call.start for call in launches]
        self._graph_starts = [call.start for call in launches if call.is_graph]

    def step(self, window: Window, *, draw: bool) -> Step:
        """The account of one window; with its time line where it is to be drawn."""
        shares = self._in(window)
        busy = union(share.part for share in shares)
        gaps = difference([(window.start, window.end)], busy)
        idle_parts = idle.reasons(gaps, self.events, self._waits)
        communication, exposed = communication_ns(shares)
        counted = self._products.of(shares)
        step_s = window.seconds
        return Step(
            name=window.name,
            rank=self.recording.rank,
            step_s=step_s,
            device_busy_s=total(busy) / 1e9,
            device_sum_s=sum(share.ns for share in shares) / 1e9,
            device_idle_s=total(gaps) / 1e9,
            unlinked_s=unlinked_ns(shares) / 1e9,
            communication_s=communication / 1e9,
            communication_exposed_s=exposed / 1e9,
            earlier_launch_s=sum(s.ns for s in shares if _was_launched_before(s, window)) / 1e9,
            operators=_between(self._op_starts, window),
            launches=_between(self._launch_starts, window),
            graph_launches=_between(self._graph_starts, window),
            lost_launches=_between([call.start for call in self._waits.lost], window),
            flops=counted.flops,
            counted_s=counted.ns / 1e9,
            countable_s=sum(s.ns for s in shares if s.piece.bar in COUNTABLE) / 1e9,
            mfu=None if counted.at_peak_s is None else counted.at_peak_s / step_s,
            account=_bars(shares, idle_parts, window),
            gemms=counted.gemms[:LISTED],
            kernels=_kernels(shares),
            streams=_streams(shares),
            timeline=timeline(shares, idle_parts, window) if draw else [],
        )

    def linked(self, own: Sequence[Window]) -> list[Window]:
        """The windows of whose device time at most 2 % link to nothing. The first ones of a
        recording hold what was launched before it began, and stand for no other."""
        found = []
        for window in own:
            shares = self._in(window)
            if unlinked_ns(shares) <= MOSTLY_LINKED * sum(share.ns for share in shares):
                found.append(window)
        return found

    def whole(self) -> Whole:
        """The same measures over the whole recording, in steps and between them."""
        window = Window("", self.events[0].start, max(event.end for event in self.events))
        shares = self._in(window)
        communication, exposed = communication_ns(shares)
        return Whole(
            seconds=window.seconds,
            busy_s=total(union(share.part for share in shares)) / 1e9,
            communication_s=communication / 1e9,
            exposed_s=exposed / 1e9,
            unlinked_s=unlinked_ns(shares) / 1e9,
        )

    def _in(self, window: Window) -> list[Share]:
        first = bisect_left(self._starts, window.start - self._longest)
        last = bisect_left(self._starts, window.end)
        return shares_of((p for p in self.pieces[first:last] if p.event.end > window.start), window)


def _is_ampere(recording: Recording) -> bool:
    """Whether the device has TF32, where its peaks are not known."""
    devices = recording.header.device_properties
    return any((d.compute_major or 0) >= 8 and d.warp_size == 32 for d in devices)


def _was_launched_before(share: Share, window: Window) -> bool:
    launch = share.piece.event.launch
    return launch is not None and launch.start < window.start


def _between(starts: Sequence[int], window: Window) -> int:
    return bisect_left(starts, window.end) - bisect_left(starts, window.start)


def _bars(
    shares: Sequence[Share], idle_parts: Mapping[str, list[Interval]], window: Window
) -> list[Bar]:
    """The device's bars, the longest first, what links to nothing last; then the reasons for idle
    time."""
    bars: dict[str, Bar] = {}
    own_ns: Counter[str] = Counter()
    sum_ns: Counter[str] = Counter()
    graph_ns: Counter[str] = Counter()
    for share in shares:
        event, name = share.piece.event, share.piece.bar
        bar = bars.setdefault(name, Bar(name=name, seconds=0.0))
        own_ns[name] += total(share.own)
        sum_ns[name] += share.ns
        bar.kernels += window.start <= event.start < window.end
        if event.launch is not None and event.launch.is_graph:
            graph_ns[name] += share.ns
    for name, bar in bars.items():
        bar.seconds, bar.device_sum_s = own_ns[name] / 1e9, sum_ns[name] / 1e9
        bar.graph_s = graph_ns[name] / 1e9
    ordered = sorted(bars.values(), key=lambda b: (b.name == UNLINKED, -b.seconds, b.name))
    idle_ns = {reason: total(idle_parts.get(reason, [])) for reason in idle.REASONS}
    return ordered + [Bar(name=name, seconds=ns / 1e9) for name, ns in idle_ns.items() if ns]


def _kernels(shares: Sequence[Share]) -> list[Kernel]:
    sums: dict[tuple[str, str], list[int]] = {}
    for share in shares:
        entry = sums.setdefault((share.piece.event.name, share.piece.bar), [0, 0])
        entry[0] += 1
        entry[1] += share.ns
    listed = sorted(sums.items(), key=lambda item: -item[1][1])[:LISTED]
    return [
        Kernel(name=name[:400], bar=bar, kernels=count, seconds=ns / 1e9)
        for (name, bar), (count, ns) in listed
    ]


def _streams(shares: Sequence[Share]) -> list[Stream]:
    by_stream: dict[str, list[Interval]] = {}
    for share in shares:
        by_stream.setdefault(share.piece.event.stream, []).append(share.part)
    return [
        Stream(name=name, kernels=len(found), busy_s=total(union(found)) / 1e9)
        for name, found in sorted(by_stream.items(), key=lambda item: -total(item[1]))
    ]
