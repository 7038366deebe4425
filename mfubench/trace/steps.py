"""Which part of a trace is a step: between the marks of the profiler's schedule, or all of it."""

from __future__ import annotations

from bisect import bisect_left
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

    A mark's own range is the step. What the device ran in it may have been launched before.

    The last mark is often an empty one, made as the profiler stopped: a mark without an operator
    or a launch in it, beside others that have some, is no step.
    """
    marked = _marked(recording)
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


def _marked(recording: Recording) -> list[Window]:
    """The profiler's own marks, else those of this suite, which carry no number."""
    found = [(STEP_MARK.fullmatch(mark.name), mark) for mark in recording.marks]
    numbered = [(f"step {m[1]}", mark) for m, mark in found if m is not None and m[1]]
    ours = [(f"step {i}", mark) for i, (_, mark) in enumerate(found)]
    windows = [Window(name, m.start, m.end) for name, m in numbered or ours if m.end > m.start]
    # A second profiler in the process marks steps of its own: those of the first one stay.
    kept: list[Window] = []
    for window in sorted(windows, key=lambda window: window.start):
        if not kept or window.start >= (kept[-1].start + kept[-1].end) / 2:
            kept.append(window)
    return kept


def _holds_any(starts: list[int], window: Window) -> bool:
    index = bisect_left(starts, window.start)
    return index < len(starts) and starts[index] < window.end
