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
    return _of_one_profiler(sorted(windows, key=lambda window: window.start))


def _of_one_profiler(windows: list[Window]) -> list[Window]:
    """A second profiler in the process marks the same steps, by numbers of its own. Of marks that
    count on at the same time the longest row stays, of two as long the first.

    >>> marks = [("step 1", 0, 10), ("step 60", 6, 20), ("step 2", 10, 60), ("step 61", 20, 70)]
    >>> [window.name for window in _of_one_profiler([Window(*mark) for mark in marks])]
    ['step 1', 'step 2']
    """
    rows: list[list[Window]] = []
    for window in windows:
        row = next((row for row in rows if _number(row[-1]) + 1 == _number(window)), None)
        if row is None:
            rows.append([window])
        else:
            row.append(window)
    kept: list[list[Window]] = []
    for row in sorted(rows, key=len, reverse=True):
        if all(_is_before(row, one) or _is_before(one, row) for one in kept):
            kept.append(row)
    return sorted((window for row in kept for window in row), key=lambda window: window.start)


def _number(window: Window) -> int:
    return int(window.name.rpartition(" ")[2])


def _is_before(row: list[Window], other: list[Window]) -> bool:
    """Whether a row of marks ends before another begins; neighbours may overlap a little."""
    return other[0].start >= (row[-1].start + row[-1].end) / 2


def _holds_any(starts: list[int], window: Window) -> bool:
    index = bisect_left(starts, window.start)
    return index < len(starts) and starts[index] < window.end
