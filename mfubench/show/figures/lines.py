"""Lines over an axis: loss over tokens, time over iterations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mfubench.show.figures import is_narrow
from mfubench.show.svg import (
    Scale,
    axis_x,
    axis_y,
    fit,
    label,
    line,
    mark,
    path,
    picture,
    tag,
    width_px,
)

MOST_POINTS = 160
"""A line of more points than this is drawn with every n-th."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One line. The look tells what it belongs to: `first` is the accent, `second` is dashed."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    look: str = "first"
    is_named: bool = True
    lows: Sequence[float] = ()
    highs: Sequence[float] = ()
    """The edges of a band around the line, where it has one."""


def curves(
    lines: Sequence[Curve],
    *,
    title: str,
    description: str,
    key: str,
    width: float,
    x_name: str,
    y_name: str,
    show_x: Callable[[float], str],
    show_y: Callable[[float], str],
    zero: str | None = None,
    mark_x: tuple[float, str] | None = None,
) -> Markup:
    """Lines with their names in a legend above, and an x that is named where it matters."""
    narrow = is_narrow(width)
    height = 230.0 if narrow else 280.0
    named = [curve for curve in lines if curve.is_named]
    top = 26.0 + (18.0 * len(named) if narrow else 18.0)
    right, bottom = width - 26.0, top + height - 60.0
    xs = [x for curve in lines for x in curve.xs]
    ys = [y for curve in lines for y in (*curve.ys, *curve.lows, *curve.highs)]
    ys += [0.0] if zero is not None else []
    room = (max(ys) - min(ys)) * 0.05 or 1.0
    y_scale = Scale(min(ys) - room, max(ys) + room, bottom, top)
    left = 12.0 + max(width_px(show_y(tick)) for tick in y_scale.ticks(4))
    x_scale = Scale(min(xs), max(xs), left, right)
    parts: list[object] = [label(0, 12, y_name, cls="axis")]
    parts += axis_x(x_scale, top, bottom, show_x, 3 if narrow else 6, width=width)
    parts += axis_y(y_scale, left, right, show_y)
    parts.append(label(right, bottom + 34, x_name, anchor="end", cls="axis"))
    if zero is not None:
        parts.append(line(left, y_scale(0.0), right, y_scale(0.0), "no-change"))
        parts.append(label(left + 6, y_scale(0.0) - 5, zero, cls="tick halo"))
    if mark_x is not None and x_scale.low <= mark_x[0] <= x_scale.high:
        x = x_scale(mark_x[0])
        parts.append(line(x, top, x, bottom, "change-line"))
        said = fit(mark_x[1], right - left - 8)
        # Beside the line where there is room, and never over the numbers of the axis.
        start = x + 6 if x + 6 + width_px(said) <= right else x - 6 - width_px(said)
        parts.append(label(max(left + 4, start), top + 14, said, cls="halo"))
    for curve in lines:
        if curve.lows:
            edge = [*zip(curve.xs, curve.highs, strict=True)]
            edge += reversed([*zip(curve.xs, curve.lows, strict=True)])
            parts.append(path([(x_scale(a), y_scale(b)) for a, b in edge], "spread"))
    for curve in lines:
        parts.append(_line(curve, x_scale, y_scale, show_x, show_y, len(lines) > 1))
    parts += _legend(named, width, narrow)
    return picture(key, (width, bottom + 42), parts, title=title, description=description)


def _line(
    curve: Curve,
    x_scale: Scale,
    y_scale: Scale,
    show_x: Callable[[float], str],
    show_y: Callable[[float], str],
    several: bool,
) -> Markup:
    every = max(1, len(curve.xs) // MOST_POINTS)
    pairs = list(zip(curve.xs, curve.ys, strict=True))
    kept = pairs[::every] if pairs[-1] in pairs[::every] else [*pairs[::every], pairs[-1]]
    places = [(x_scale(x), y_scale(y)) for x, y in kept]
    parts: list[object] = [path(places, f"curve {curve.look}")]
    name = f"{curve.name}: " if several else ""
    dots = kept[:: max(1, len(kept) // 40)]
    for x, y in dots:
        parts.append(
            mark(
                [tag("circle", cx=x_scale(x), cy=y_scale(y), r=4.0, cls=f"dot {curve.look}")],
                f"{name}{show_y(y)} at {show_x(x)}",
            )
        )
    return tag("g", *parts)


def _legend(named: Sequence[Curve], width: float, narrow: bool) -> list[Markup]:
    parts = []
    room = width if narrow else width / max(1, len(named))
    for index, curve in enumerate(named):
        x, y = (0.0, 30.0 + 18.0 * index) if narrow else (index * room, 30.0)
        parts.append(line(x, y - 4, x + 22, y - 4, f"curve {curve.look}"))
        parts.append(label(x + 28, y, fit(curve.name, room - 34), cls="name"))
    return parts
