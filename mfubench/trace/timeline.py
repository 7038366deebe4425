"""The time line of a step as few stretches: what each stream ran, in columns of equal length."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from mfubench.analysis.intervals import Interval
from mfubench.trace.document import Span
from mfubench.trace.shares import Share
from mfubench.trace.steps import Window

COLUMNS = 360
"""A step is drawn in so many columns; a shorter kernel shows as its share of a column."""
IDLE_ROW = "idle"
MAX_ROWS = 8
_SHARES = 8


def timeline(
    shares: Sequence[Share], idle_parts: Mapping[str, list[Interval]], window: Window
) -> list[Span]:
    """One row per stream, the busiest first, and one for the reasons of idle time."""
    rows: dict[str, dict[int, dict[str, int]]] = {}
    for share in shares:
        stream = share.piece.event.stream
        columns = rows.setdefault(stream, defaultdict(lambda: defaultdict(int)))
        _add(columns, share.piece.bar, [share.part], window)
    busiest = sorted(rows, key=lambda row: -sum(sum(c.values()) for c in rows[row].values()))
    shown = {row: rows[row] for row in busiest[:MAX_ROWS]}
    shown[IDLE_ROW] = defaultdict(lambda: defaultdict(int))
    for reason, parts in idle_parts.items():
        _add(shown[IDLE_ROW], reason, parts, window)
    return [span for row, columns in shown.items() for span in _spans(row, columns, window)]


def _add(
    columns: dict[int, dict[str, int]], bar: str, parts: Iterable[Interval], window: Window
) -> None:
    length = window.end - window.start
    for start, end in parts:
        low, high = max(start, window.start) - window.start, min(end, window.end) - window.start
        if high <= low:
            continue
        for column in range(low * COLUMNS // length, -(-high * COLUMNS // length)):
            left, right = column * length / COLUMNS, (column + 1) * length / COLUMNS
            columns[column][bar] += max(0, round(min(high, right) - max(low, left)))


def _spans(row: str, columns: Mapping[int, Mapping[str, int]], window: Window) -> list[Span]:
    """Neighbouring columns with the same bar and about the same share become one stretch."""
    width_s = window.seconds / COLUMNS
    spans: list[Span] = []
    for column in sorted(columns):
        bars = columns[column]
        busy = sum(bars.values()) / 1e9 / width_s
        bar = max(bars, key=lambda name: (bars[name], name))
        share = max(1, round(min(busy, 1.0) * _SHARES)) / _SHARES
        start = column * width_s
        if spans:
            last = spans[-1]
            joins = abs(last.end_s - start) < width_s / 2
            if joins and last.bar == bar and last.share == share:
                last.end_s = start + width_s
                continue
        spans.append(Span(row=row, start_s=start, end_s=start + width_s, bar=bar, share=share))
    return spans
