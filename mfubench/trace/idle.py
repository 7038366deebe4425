"""Why a device was idle: what the host did until it launched what ran next.

Every idle moment is in one of these bars. It is decided at that moment, from records alone: until
the launch of the next piece of work has returned, the host was late, and what its launching threads
did says why; afterwards the work was on its way.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from mfubench.trace.events import COPY, DeviceEvent, Recording, waits
from mfubench.trace.intervals import Interval, difference, intersection, union
from mfubench.trace.kernels import is_host_copy

HOST = "idle: host had not launched"
DATA = "idle: host waited for data"
SYNC = "idle: host waited for a copy or synchronisation"
RANKS = "idle: host waited for another rank"
LAUNCHED = "idle: launched, not started"
GRAPH = "gap in a replayed graph"
"""Between a graph's nodes, or in place of nodes of which the profiler kept no record."""
UNKNOWN = "idle: reason not recorded"
REASONS = (HOST, DATA, SYNC, RANKS, LAUNCHED, GRAPH, UNKNOWN)

_DATA_RANGE = re.compile(
    r"(?i)enumerate\(DataLoader\).*|.*::phase::data|[# ]*(wait_for_batch|next_batch|load_batch"
    r"|get_batch|dataloader?|data_?load(ing|er)|next\(data.*)[# ]*"
)
_RANK_RANGE = re.compile(
    r"(?i)(c10d::barrier|c10d::monitored_barrier\w*|gloo:.*|mpi:.*|[# ]*barrier[# ]*"
    r"|.*Request wait\(\).*)"
)


class Waits:
    """When the threads that launch work waited, and for what. Three sets without overlap."""

    def __init__(self, recording: Recording) -> None:
        threads = {call.thread for call in recording.calls if not waits(call.name)}
        threads |= {mark.thread for mark in recording.marks}
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


def _blocks(event: DeviceEvent) -> bool:
    """Whether a copy's call returns only when the copy is done: memory that is not pinned."""
    return event.kind == COPY and is_host_copy(event.name) and "Pinned" not in event.name


def reasons(
    gaps: Sequence[Interval], events: Sequence[DeviceEvent], waited: Waits
) -> dict[str, list[Interval]]:
    """The idle moments of a device by reason; together they are the gaps. `events` are all of the
    device's, by start, those after the step too."""
    starts = [event.start for event in events]
    late: list[Interval] = []
    blocked: list[Interval] = []
    on_its_way: list[Interval] = []
    in_graph: list[Interval] = []
    unknown: list[Interval] = []
    for low, high in gaps:
        index = bisect_left(starts, high)
        following = events[index] if index < len(events) else None
        if following is None:
            late.append((low, high))  # nothing more was launched
        elif following.launch is None:
            unknown.append((low, high))
        else:
            launch = following.launch
            blocks = _blocks(following)
            until = min(max(launch.start if blocks else launch.end, low), high)
            late.append((low, until))
            after = in_graph if launch.is_graph else blocked if blocks else on_its_way
            after.append((until, high))
    late, unknown = union(late), union(unknown)
    found = _split(late, waited, HOST)
    for reason, parts in _split(unknown, waited, UNKNOWN).items():
        found[reason] = union([*found.get(reason, []), *parts])
    found[SYNC] = union([*found[SYNC], *union(blocked)])
    found[LAUNCHED] = union(on_its_way)
    found[GRAPH] = union(in_graph)
    return found


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
