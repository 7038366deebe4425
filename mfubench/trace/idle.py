"""Why a device was idle: what the host did until it launched what ran next.

Every idle moment is in one of these bars. It is decided at that moment, from records alone: until
the launch of the next piece of work has returned, the host was late, and what its launching threads
did says why; afterwards the work was on its way.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence

from mfubench.analysis.intervals import Interval, difference, intersection, union
from mfubench.analysis.kernels import is_host_copy
from mfubench.trace.events import (
    COPY,
    DeviceEvent,
    HostCall,
    Recording,
    begins_capture,
    is_launch,
    starts_work,
    waits,
)

HOST = "idle: host had not launched"
DATA = "idle: host waited for data"
SYNC = "idle: host waited for a copy or synchronisation"
RANKS = "idle: host waited for another rank"
LAUNCHED = "idle: launched, not started"
GRAPH = "gap in a replayed graph"
"""Between a graph's nodes, or in place of nodes of which the profiler kept no record."""
LOST = "no record of launched kernels"
"""A launch is recorded and what it launched is not: the device may have worked."""
UNKNOWN = "idle: reason not recorded"
REASONS = (HOST, DATA, SYNC, RANKS, LAUNCHED, GRAPH, LOST, UNKNOWN)

_DATA_RANGE = re.compile(
    r"(?i)enumerate\(DataLoader\).*|.*::phase::data|[# ]*(wait_for_batch|next_batch|load_batch"
    r"|get_batch|dataloader?|data_?load(ing|er)|next\(data.*)[# ]*"
)
_RANK_RANGE = re.compile(
    r"(?i)(c10d::barrier|c10d::monitored_barrier\w*|gloo:.*|mpi:.*|[# ]*barrier[# ]*"
    r"|.*Request wait\(\).*)"
)


class Waits:
    """When the threads that launch work waited, and for what (three sets without overlap); and the
    launches of which no kernel is recorded."""

    def __init__(self, recording: Recording) -> None:
        threads = {call.thread for call in recording.calls if starts_work(call.name)}
        # The thread of the training loop may wait without launching: the backward pass has its own.
        threads |= {mark.thread for mark in recording.marks}
        if not recording.marks:
            threads |= {t for t, _ in Counter(op.thread for op in recording.ops).most_common(1)}
        ranges = [op for op in recording.ops if op.thread in threads]
        ranks = union((op.start, op.end) for op in ranges if _RANK_RANGE.fullmatch(op.name))
        data = union((op.start, op.end) for op in ranges if _DATA_RANGE.fullmatch(op.name))
        sync = union(
            (call.start, call.end)
            for call in recording.calls
            if call.thread in threads and waits(call.name)
        )
        self.ranks = ranks
        self.data = difference(data, ranks)
        self.sync = difference(difference(sync, ranks), self.data)
        self.lost = _lost(recording)
        self._lost_starts = [call.start for call in self.lost]

    def first_lost(self, after: HostCall | None, before: HostCall | None) -> HostCall | None:
        """The first launch without a kernel that was made between two others. Streams keep the
        order of launches, so what it launched ran between what they launched."""
        index = bisect_right(self._lost_starts, after.start) if after else 0
        call = self.lost[index] if index < len(self.lost) else None
        return None if call is None or (before and call.start > before.start) else call


def _lost(recording: Recording) -> list[HostCall]:
    """Launches without a kernel. What is launched while a graph is captured runs when the graph is
    replayed, under the replay's id."""
    recorded = {event.correlation for event in recording.device_events}
    capturing: set[int | str] = set()
    found = []
    for call in recording.calls:
        if (begins := begins_capture(call.name)) is not None:
            (capturing.add if begins else capturing.discard)(call.thread)
        elif (
            is_launch(call.name)
            and call.correlation not in recorded
            and call.thread not in capturing
        ):
            found.append(call)
    return found


def _blocks(event: DeviceEvent) -> bool:
    """Whether a copy's call returns only when the copy is done: memory that is not pinned."""
    return event.kind == COPY and is_host_copy(event.name) and "Pinned" not in event.name


def reasons(
    gaps: Sequence[Interval], events: Sequence[DeviceEvent], waited: Waits
) -> dict[str, list[Interval]]:
    """The idle moments of a device by reason; together they are the gaps. `events` are all of the
    device's, by start, those after the step too."""
    starts = [event.start for event in events]
    found: dict[str, list[Interval]] = {reason: [] for reason in (*REASONS, _LATE, _UNKNOWN)}
    for low, high in gaps:
        index = bisect_left(starts, high)
        following = events[index] if index < len(events) else None
        # The device was idle, so the event before the gap is the last one that had started.
        before = events[index - 1] if index else None
        at = low
        for reason, end in _parts(before, following, waited, high):
            if end > at:
                found[reason].append((at, min(end, high)))
                at = min(end, high)
    for during, otherwise in ((_LATE, HOST), (_UNKNOWN, UNKNOWN)):
        for reason, parts in _split(union(found.pop(during)), waited, otherwise).items():
            found[reason] += parts
    return {reason: union(parts) for reason, parts in found.items()}


_LATE, _UNKNOWN = "late", "unknown"
"""Before the host's waiting is looked at."""


def _parts(
    before: DeviceEvent | None, following: DeviceEvent | None, waited: Waits, high: int
) -> list[tuple[str, int]]:
    """The reasons for a gap in their order, each with its end."""
    launch = following.launch if following else None
    missing = waited.first_lost(before.launch if before else None, launch)
    lost_from = missing.end if missing is not None else high
    if following is None:  # nothing more was launched
        parts = [(_LATE, min(high, lost_from))]
    elif launch is None:
        parts = [(_UNKNOWN, min(high, lost_from))]
    elif _blocks(following):
        parts = [(_LATE, min(launch.start, lost_from)), (SYNC, min(high, lost_from))]
    else:
        after = GRAPH if launch.is_graph else LAUNCHED
        parts = [(_LATE, min(launch.end, lost_from)), (after, min(high, lost_from))]
    return [*parts, (LOST, high)]


def _split(gaps: list[Interval], waited: Waits, otherwise: str) -> dict[str, list[Interval]]:
    found: dict[str, list[Interval]] = {}
    rest = gaps
    for reason, during in ((RANKS, waited.ranks), (DATA, waited.data), (SYNC, waited.sync)):
        found[reason] = intersection(gaps, during)
        rest = difference(rest, during)
    found[otherwise] = rest
    return found


def busy_of(events: Iterable[DeviceEvent]) -> list[Interval]:
    """When at least one of the events ran."""
    return union((event.start, event.end) for event in events)
