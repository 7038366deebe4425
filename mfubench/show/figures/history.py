"""One case over time: its median per run, where it changed, and where the environment did."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from mfubench.analysis.history import Bucket, History
from mfubench.show.svg import Scale, label, line, mark, path, picture, rect, tag
from mfubench.show.units import format_duration

HEIGHT_PX, TOP_PX, BOTTOM_PX = 132.0, 14.0, 104.0


def history_picture(history: History, *, key: str, width: float) -> Markup:
    """Medians in the order of time, the quartiles as a band, levels between change points."""
    buckets = history.buckets
    highest = max(b.high_s for b in buckets)
    lowest = min(b.low_s for b in buckets)
    room = (highest - lowest) * 0.12 or highest * 0.02
    left, right = 62.0, width - 10.0
    x_scale = Scale(0, max(1, history.runs - 1), left, right)
    y_scale = Scale(lowest - room, highest + room, BOTTOM_PX, TOP_PX)
    parts: list[object] = []
    for value in (lowest, highest):
        y = y_scale(value)
        parts.append(line(left, y, right, y, "grid"))
        parts.append(label(left - 6, y + 4, format_duration(value), anchor="end", cls="tick"))
    for change in history.environment:
        x = (x_scale(change.index - 1) + x_scale(change.index)) / 2
        drawn = [
            rect(x - 4, TOP_PX - 6, 8, BOTTOM_PX - TOP_PX + 12, "hit"),
            line(x, TOP_PX - 6, x, BOTTOM_PX + 6, "environment"),
        ]
        parts.append(mark(drawn, f"the environment changed: {change.what}"))
    parts.append(_band(buckets, x_scale, y_scale))
    for level in history.levels:
        x1, x2 = x_scale(level.first), x_scale(level.last)
        y = y_scale(level.median_s)
        parts.append(line(x1, y, max(x2, x1 + 2), y, "level"))
    for change_point in history.change_points:
        x = (x_scale(change_point.index - 1) + x_scale(change_point.index)) / 2
        points = (
            f"{x:.1f},{TOP_PX - 2:.1f} {x - 5:.1f},{TOP_PX - 11:.1f} {x + 5:.1f},{TOP_PX - 11:.1f}"
        )
        drawn = [
            rect(x - 5, TOP_PX - 12, 10, BOTTOM_PX - TOP_PX + 12, "hit"),
            line(x, TOP_PX - 2, x, BOTTOM_PX, "change-line"),
            tag("polygon", points=points, cls="change"),
        ]
        parts.append(mark(drawn, change_point.sentence))
    for bucket in buckets:
        dot = tag(
            "circle", cx=x_scale(bucket.index), cy=y_scale(bucket.median_s), r=2.6, cls="dot run"
        )
        parts.append(mark([dot], bucket.tip))
    parts.append(label(left, 126, history.first_day, cls="tick"))
    parts.append(label(right, 126, history.last_day, anchor="end", cls="tick"))
    return picture(
        key, (width, HEIGHT_PX), parts, title=history.title, description=history.description
    )


def _band(buckets: Sequence[Bucket], x_scale: Scale, y_scale: Scale) -> Markup:
    upper = [(x_scale(b.index), y_scale(b.high_s)) for b in buckets]
    lower = [(x_scale(b.index), y_scale(b.low_s)) for b in reversed(buckets)]
    return path([*upper, *lower], "spread")
