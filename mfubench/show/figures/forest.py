"""The forest plot: a change per row, with its interval, against no change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mfubench.show.figures import Look, is_narrow
from mfubench.show.svg import (
    Scale,
    axis_x,
    fit,
    label,
    line,
    mark,
    picture,
    rect,
    strokes,
    tag,
    width_px,
)

ROW_PX, NARROW_ROW_PX = 26.0, 44.0
NAME_PX = 244.0
VALUE_BOLDER = 1.15
"""How much wider the bold value beside an interval is than plain text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestRow:
    """One estimate with its interval, as ratios: 1 is no change."""

    name: str
    ratio: float
    low: float
    high: float
    verdict: str
    look: Look
    """Decides shape and colour of the mark."""
    said: str = ""
    """Stands beside the value, where the mark does not say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A range of changes that the plot names: the floor, the tolerance."""

    name: str
    low: float
    high: float


def forest(
    rows: Sequence[ForestRow],
    *,
    title: str,
    description: str,
    key: str,
    width: float,
    bands: Sequence[Band] = (),
) -> Markup:
    """Rows on one axis of percent; an interval that goes on past the edge ends in an arrow."""
    narrow = is_narrow(width)
    left = 12.0 if narrow else NAME_PX
    # The values stand beside the intervals, and have to fit beside the last.
    told_px = max([0.0, *(VALUE_BOLDER * width_px(_told(row)) for row in rows)])
    right = width - (12.0 if narrow else 14.0 + told_px)
    row_px = NARROW_ROW_PX if narrow else ROW_PX
    top = 22.0 if bands else 4.0
    bottom = top + row_px * len(rows)
    scale = _scale(rows, bands, left, right)
    parts: list[object] = []
    for band in bands:
        x1, x2 = (min(max(scale(edge), left), right) for edge in (band.low, band.high))
        parts.append(
            mark([rect(x1, top, x2 - x1, bottom - top, "band")], f"{band.name}: {_spread(band)}")
        )
    parts += axis_x(scale, top, bottom, _percent, 3 if narrow else 6, width=width)
    parts.append(line(scale(1.0), top - 4, scale(1.0), bottom, "no-change"))
    if bands:
        names = ", ".join(f"{b.name} {_spread(b)}" for b in bands)
        parts.append(label(0, 12, fit("shaded: " + names, width), cls="tick"))
    halo = "halo on-band" if bands else "halo"
    for index, row in enumerate(rows):
        y = top + index * row_px
        parts.append(_row(row, y, scale, width, narrow=narrow, halo=halo))
    return picture(key, (width, bottom + 24), parts, title=title, description=description)


def _scale(rows: Sequence[ForestRow], bands: Sequence[Band], left: float, right: float) -> Scale:
    """Holds no change, every estimate, every band, and of the intervals what is not far away."""
    points = [1.0, *(row.ratio for row in rows)]
    low, high = min(points), max(points)
    reach = 0.75 * (high - low) + 0.02
    low = max(min(low, *(row.low for row in rows)), low - reach) if rows else low
    high = min(max(high, *(row.high for row in rows)), high + reach) if rows else high
    low = min([low, *(band.low for band in bands)])
    high = max([high, *(band.high for band in bands)])
    room = 0.06 * (high - low) or 0.01
    return Scale(low - room, high + room, left, right)


def _percent(ratio: float) -> str:
    change = (ratio - 1) * 100
    return "no change" if abs(change) < 1e-6 else f"{change:+.3g} %".replace("-", "−")


def change(ratio: float) -> str:
    """A ratio as a signed change in per cent.

    >>> change(1.083), change(0.93)
    ('+8.3 %', '−7.0 %')
    """
    said = f"{(ratio - 1) * 100:+.1f} %".replace("-", "−")
    return "0.0 %" if said[1:] == "0.0 %" else said


def _spread(band: Band) -> str:
    return f"±{(band.high - 1) * 100:.2g} %"


def _told(row: ForestRow) -> str:
    return f"{change(row.ratio)} {row.said}".rstrip()


def _row(
    row: ForestRow, y: float, scale: Scale, width: float, *, narrow: bool, halo: str
) -> Markup:
    middle = y + (30.0 if narrow else 13.0)
    text_y = y + (14.0 if narrow else 17.0)
    low, high = (min(max(scale(e), scale.start_px), scale.end_px) for e in (row.low, row.high))
    at = min(max(scale(row.ratio), scale.start_px), scale.end_px)
    drawn: list[object] = [
        rect(scale.start_px, middle - 11, scale.end_px - scale.start_px, 22, "hit"),
        *_interval(row, low, high, middle, scale),
    ]
    drawn.append(_shape(row.look, at, middle))
    told = _told(row)
    if narrow:
        told = fit(told, width * 0.6)
        x, anchor, room = width - 2, "end", width - width_px(told) - 10
    else:
        x, anchor, room = max(high, at + 6) + 10, None, scale.start_px - 16
        if row.ratio < 1 and low - 10 - width_px(told) > scale.start_px:
            x, anchor = min(low, at - 6) - 10, "end"
    drawn.append(label(0, text_y, fit(row.name, room), cls=f"name {halo if narrow else 'halo'}"))
    drawn.append(label(x, text_y, told, anchor=anchor, cls=f"value {halo}"))
    interval = f"{change(row.low)} to {change(row.high)}"
    return mark(drawn, f"{row.name}: {change(row.ratio)}, 95 % interval {interval}; {row.verdict}")


def _shape(look: Look, x: float, y: float) -> Markup:
    """A triangle up helps, one down hurts, a dot makes no difference, a ring is not settled."""
    if look in ("helps", "hurts"):
        way = -1 if look == "helps" else 1
        corners = ((x, y + way * 6.5), (x - 6, y - way * 4.5), (x + 6, y - way * 4.5))
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
        return tag("polygon", points=points, cls=f"estimate {look}")
    return tag("circle", cx=x, cy=y, r=4.2, cls=f"estimate {look}")


def _interval(row: ForestRow, low: float, high: float, y: float, scale: Scale) -> list[Markup]:
    """A line with a stroke at either end, or an arrow where it goes on outside the plot."""
    steps = f"M{low:.1f} {y:g}H{high:.1f}"
    arrows = []
    for x, edge, way in ((low, row.low, -1), (high, row.high, 1)):
        if edge < scale.low if way < 0 else edge > scale.high:
            points = f"{x:.1f},{y:.1f} {x - way * 7:.1f},{y - 4:.1f} {x - way * 7:.1f},{y + 4:.1f}"
            arrows.append(tag("polygon", points=points, cls="arrow"))
        else:
            steps += f"M{x:.1f} {y - 4:g}v8"
    return [strokes(steps, f"interval {row.look}"), *arrows]
