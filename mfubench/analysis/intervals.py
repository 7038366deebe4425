"""Arithmetic of half-open intervals of whole nanoseconds, so that every sum is exact.

A *set* here is a sorted list of intervals that neither touch nor overlap, as `union` returns it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

Interval = tuple[int, int]
"""Start and end in ns; the end does not belong to it."""


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Everything that at least one interval covers; empty intervals vanish.

    >>> union([(5, 9), (0, 2), (1, 3), (9, 9), (3, 4)])
    [(0, 4), (5, 9)]
    """
    merged: list[Interval] = []
    for low, high in sorted(intervals):
        if high <= low:
            continue
        if merged and low <= merged[-1][1]:
            if high > merged[-1][1]:
                merged[-1] = (merged[-1][0], high)
        else:
            merged.append((low, high))
    return merged


def intersection(left: Sequence[Interval], right: Sequence[Interval]) -> list[Interval]:
    """What two sets both cover.

    >>> intersection([(0, 4), (6, 9)], [(3, 7)])
    [(3, 4), (6, 7)]
    """
    found: list[Interval] = []
    i = j = 0
    while i < len(left) and j < len(right):
        low, high = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if low < high:
            found.append((low, high))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return found


def difference(left: Sequence[Interval], right: Sequence[Interval]) -> list[Interval]:
    """What the left set covers and the right one does not.

    >>> difference([(0, 10)], [(2, 3), (9, 12)])
    [(0, 2), (3, 9)]
    """
    found: list[Interval] = []
    j = 0
    for low, high in left:
        at = low
        while j < len(right) and right[j][1] <= at:
            j += 1
        k = j
        while k < len(right) and right[k][0] < high:
            if right[k][0] > at:
                found.append((at, right[k][0]))
            at = max(at, right[k][1])
            k += 1
        if at < high:
            found.append((at, high))
    return found


def total(intervals: Iterable[Interval]) -> int:
    """Nanoseconds that a set covers; of overlapping intervals, the sum.

    >>> total([(0, 4), (6, 9)])
    7
    """
    return sum(high - low for low, high in intervals)


def clipped(intervals: Sequence[Interval], low: int, high: int) -> list[Interval]:
    """The part of a set inside one interval.

    >>> clipped([(0, 4), (6, 9)], 3, 8)
    [(3, 4), (6, 8)]
    """
    first = max(0, bisect_right(intervals, (low, low)) - 1)
    found = []
    for start, end in intervals[first:]:
        if start >= high:
            break
        if end > low and min(end, high) > max(start, low):
            found.append((max(start, low), min(end, high)))
    return found


def exclusive(events: Sequence[Interval], taken: Sequence[Interval]) -> list[list[Interval]]:
    """For each event the time that is its alone: not in the set `taken`, and of several events at
    once the one that started first. Together the parts cover every event once.

    >>> exclusive([(0, 5), (3, 8), (4, 6)], [(6, 7)])
    [[(0, 5)], [(5, 6), (7, 8)], []]
    """
    parts: list[list[Interval]] = [[] for _ in events]
    covered = min((low for low, _ in events), default=0)
    hidden = 0
    for index in sorted(range(len(events)), key=lambda i: (events[i][0], i)):
        low, high = max(events[index][0], covered), events[index][1]
        if high <= low:
            continue
        covered = high
        while hidden < len(taken) and taken[hidden][1] <= low:
            hidden += 1
        at, look = low, hidden
        while look < len(taken) and taken[look][0] < high:
            if taken[look][0] > at:
                parts[index].append((at, taken[look][0]))
            at = max(at, taken[look][1])
            look += 1
        if at < high:
            parts[index].append((at, high))
    return parts
