"""The forest plot: a ratio or a change per row, with its interval, against no change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mfubench.show.figures import is_narrow
from mfubench.show.svg import (
    Scale,
    axis_x,
    fit,
    label,
    line,
    mark,
    picture,
    rect,
    tag,
    width_px,
)

ROW_PX, NARROW_ROW_PX = 26.0, 44.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestRow:
    """One estimate with its interval, as ratios: 1 is no change."""

    name: str
    ratio: float
    low: float
    high: float
    verdict: str
    is_settled: bool = True
    """False draws it hollow: the interval does not tell."""


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
    as_change: bool = False,
) -> Markup:
    """Rows on one axis of percent; an interval that goes on past the edge ends in an arrow."""
    narrow = is_narrow(width)
    left = 12.0 if narrow else 232.0
    right = width - (12.0 if narrow else 264.0)
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
    parts += axis_x(scale, top, bottom, _percent, 3 if narrow else 5)
    parts.append(line(scale(1.0), top - 4, scale(1.0), bottom, "no-change"))
    if bands:
        names = ", ".join(f"{b.name} {_spread(b)}" for b in bands)
        parts.append(label(0, 12, fit("shaded: " + names, width), cls="tick"))
    for index, row in enumerate(rows):
        y = top + index * row_px
        parts.append(_row(row, y, scale, width, narrow=narrow, as_change=as_change))
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


def _change(ratio: float) -> str:
    """
    >>> _change(1.083), _change(0.93)
    ('+8.3 %', '−7.0 %')
    """
    return f"{(ratio - 1) * 100:+.1f} %".replace("-", "−")


def _spread(band: Band) -> str:
    return f"±{(band.high - 1) * 100:.2g} %"


def _row(
    row: ForestRow, y: float, scale: Scale, width: float, *, narrow: bool, as_change: bool
) -> Markup:
    middle = y + (30.0 if narrow else 13.0)
    text_y = y + (14.0 if narrow else 17.0)
    low, high = (min(max(scale(e), scale.start_px), scale.end_px) for e in (row.low, row.high))
    at = min(max(scale(row.ratio), scale.start_px), scale.end_px)
    cls = "settled" if row.is_settled else "unsettled"
    drawn: list[object] = [
        rect(scale.start_px, y + (20 if narrow else 0), scale.end_px - scale.start_px, 22, "hit"),
        line(low, middle, high, middle, f"interval {cls}"),
    ]
    drawn += _ends(row, low, high, middle, scale, cls)
    drawn.append(tag("circle", cx=at, cy=middle, r=3.8, cls=f"estimate {cls}"))
    value = _change(row.ratio) if as_change else f"×{row.ratio:.3f}"
    told = f"{value} · {row.verdict}"
    told = fit(told, width - scale.end_px - 16) if not narrow else fit(told, width * 0.56)
    room = width - width_px(told) - 10 if narrow else scale.start_px - 16
    drawn.append(label(0, text_y, fit(row.name, room), cls="name halo"))
    drawn.append(label(width - 2, text_y, told, anchor="end", cls="value halo"))
    interval = f"{_change(row.low)} to {_change(row.high)}"
    return mark(drawn, f"{row.name}: {value}, 95 % interval {interval}; {row.verdict}")


def _ends(
    row: ForestRow, low: float, high: float, y: float, scale: Scale, cls: str
) -> list[Markup]:
    """A tick at either end, or an arrow where the interval goes on outside the plot."""
    ends = []
    for x, edge, way in ((low, row.low, -1), (high, row.high, 1)):
        outside = edge < scale.low if way < 0 else edge > scale.high
        if outside:
            points = f"{x:.1f},{y:.1f} {x - way * 7:.1f},{y - 4:.1f} {x - way * 7:.1f},{y + 4:.1f}"
            ends.append(tag("polygon", points=points, cls=f"arrow {cls}"))
        else:
            ends.append(line(x, y - 4, x, y + 4, f"interval {cls}"))
    return ends
