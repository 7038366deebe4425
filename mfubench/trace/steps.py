"""Which part of a trace is a step: between the marks of the profiler's schedule, or all of it."""

from __future__ import annotations

from dataclasses import dataclass

from mfubench.trace.events import STEP_MARK, Recording, starts_work

WHOLE = "the whole trace"


@dataclass(frozen=True, slots=True)
class Window:
    """A step of one process: from `start` until before `end`, in ns."""

    name: str
    start: int
    end: int

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / 1e9


def windows(recording: Recording) -> list[Window]:
    """The steps that `ProfilerStep#N` ranges mark, by their start; without marks, one window over
    everything that was recorded.

    The last mark is often an empty one, made as the profiler stopped: a mark without an operator
    or a launch in it, beside others that have some, is no step.
    """
    marked = [Window(_name(m.name), m.start, m.end) for m in recording.marks if m.end > m.start]
    if marked:
        work = sorted(
            [op.start for op in recording.ops if op.kind == "op"]
            + [call.start for call in recording.calls if starts_work(call.name)]
        )
        filled = [window for window in marked if _holds_any(work, window)]
        return filled or marked
    edges = [
        (event.start, event.end)
        for events in (recording.device_events, recording.ops, recording.calls)
        for event in events
    ]
    return [Window(WHOLE, min(low for low, _ in edges), max(high for _, high in edges))]


def _name(mark: str) -> str:
    match = STEP_MARK.fullmatch(mark)
    return mark if match is None or match[1] is None else f"step {match[1]}"


def _holds_any(starts: list[int], window: Window) -> bool:
    from bisect import bisect_left

    index = bisect_left(starts, window.start)
    return index < len(starts) and starts[index] < window.end
