"""What a profile says about the device: its kernels, who launched them, which of them are lost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mfubench.analysis.intervals import exclusive, total, union

LAUNCH = re.compile(r"(?:cuda|cu|hip)\w*LaunchKernel\w*")


def on_host(event: Any) -> bool:
    """Whether an event is of the host."""
    return bool(event.device_type.name == "CPU")


def is_annotation(event: Any) -> bool:
    """A named range (the optimizer's, say) may carry its own shadow on the device, which spans
    kernels that are counted where they were launched."""
    return bool(getattr(event, "is_user_annotation", False))


def interval_ns(event: Any) -> tuple[int, int]:
    """Start and end in whole nanoseconds."""
    return round(event.time_range.start * 1e3), round(event.time_range.end * 1e3)


def within(event: Any, step: Any) -> bool:
    """Whether an event lies in a step's time."""
    return bool(
        step.time_range.start <= event.time_range.start
        and event.time_range.end <= step.time_range.end
    )


@dataclass(frozen=True, slots=True)
class OnDevice:
    """What a profile says about the device, whatever the step."""

    events: Sequence[Any]
    lost: dict[int, bool]
    """By the start of a launch, whether its kernel left no record."""
    own_s: dict[int, list[tuple[str, float]]]
    """By the number of an operator, its kernels and the seconds that each has for itself; empty
    where no two kernels ran at once, and where kernels do not say which operator launched them."""

    @classmethod
    def of(cls, events: Sequence[Any]) -> OnDevice:
        """From the events of a profile."""
        on_device = [e for e in events if not on_host(e) and not is_annotation(e)]
        launches = [e for e in events if on_host(e) and LAUNCH.fullmatch(e.name)]
        return cls(on_device, lost_launches(launches, on_device), own_times(on_device))

    def kernels(self, event: Any) -> list[tuple[str, float]]:
        """Name and seconds of each kernel that an operator launched itself."""
        if is_annotation(event) or not event.kernels:
            return []
        if self.own_s:
            return self.own_s.get(event.id, [])
        return [(str(kernel.name), kernel.duration * 1e-6) for kernel in event.kernels]

    def overlap_s(self, step: Any) -> float:
        """Seconds in a step that were taken out of kernels because another one had them."""
        if not self.own_s:
            return 0.0
        inside = [interval_ns(e) for e in self.events if within(e, step)]
        return (total(inside) - total(union(inside))) * 1e-9


_COPY = re.compile(r"(?i)mem(cpy|set)\b.*")


def own_times(on_device: Sequence[Any]) -> dict[int, list[tuple[str, float]]]:
    """Every moment of the device given to one kernel: to what calculates before what copies, and
    among equals to what started first, as in `mfubench.trace.shares`."""
    intervals = [interval_ns(e) for e in on_device]
    links = [getattr(e, "linked_correlation_id", 0) for e in on_device]
    if total(intervals) == total(union(intervals)) or not any(links):
        return {}
    found: dict[int, list[tuple[str, float]]] = {}
    taken: list[tuple[int, int]] = []
    for copies in (False, True):
        equals = [
            i for i, e in enumerate(on_device) if (_COPY.match(str(e.name)) is not None) is copies
        ]
        parts = [intervals[i] for i in equals]
        for i, own in zip(equals, exclusive(parts, taken), strict=True):
            found.setdefault(links[i], []).append((str(on_device[i].name), total(own) * 1e-9))
        taken = union(parts)
    return found


def lost_launches(launches: Sequence[Any], on_device: Sequence[Any]) -> dict[int, bool]:
    """Whether each launch, by its start, has no kernel of its number.

    In the seven traces of six kinds of GPU that the tests were written from, all have. Where no
    launch has one the two are not numbered alike, and nothing is known.
    """
    numbers = {e.id for e in on_device}
    lost = {launch.time_range.start: launch.id not in numbers for launch in launches}
    return {} if all(lost.values()) else lost
