"""The time line of a step: a row per stream, and one for the reasons of the idle time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mfubench.show.figures import is_narrow
from mfubench.show.svg import Scale, axis_x, fit, label, line, mark, picture, rect, width_px

ROW_PX, BAR_PX, NARROW_NAME_PX = 34.0, 22.0, 18.0
LEGEND_PX, SWATCH_PX = 18.0, 10.0
NAMES_PX = 96.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A part of a row in which one kind of work prevailed."""

    start_s: float
    end_s: float
    share: float
    """Of the stretch, how much the row was busy: the height of the mark."""
    kind: str
    """Decides the colour, and is named in the legend."""
    tip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A stream, or the reasons of the idle time."""

    name: str
    stretches: Sequence[Stretch]


def time_line(
    rows: Sequence[Row],
    looks: Mapping[str, str],
    total_s: float,
    *,
    title: str,
    description: str,
    key: str,
    width: float,
) -> Markup:
    """`looks` gives each kind its class in the style sheet, in the legend's order."""
    narrow = is_narrow(width)
    left, right = (16.0 if narrow else NAMES_PX), width - (16.0 if narrow else 4.0)
    used = {stretch.kind for row in rows for stretch in row.stretches}
    legend, legend_height = _legend([kind for kind in looks if kind in used], looks, width)
    row_px = ROW_PX + (NARROW_NAME_PX if narrow else 0.0)
    top = legend_height + 6.0
    bottom = top + row_px * len(rows)
    scale = Scale(0.0, total_s, left, right)
    parts: list[object] = list(legend)
    parts += axis_x(
        scale, top, bottom, lambda t: f"{t * 1e3:g} ms", 4 if narrow else 8, width=width
    )
    for index, row in enumerate(rows):
        base = top + (index + 1) * row_px - 4.0
        room = width if narrow else NAMES_PX - 8.0
        name_y = base - BAR_PX - 5.0 if narrow else base - BAR_PX / 2 + 4.0
        parts.append(label(0, name_y, fit(row.name, room), cls="name halo"))
        parts.append(line(left, base, right, base, "link"))
        parts += [_stretch(stretch, base, scale, looks) for stretch in row.stretches]
    return picture(key, (width, bottom + 24.0), parts, title=title, description=description)


def _stretch(stretch: Stretch, base: float, scale: Scale, looks: Mapping[str, str]) -> Markup:
    low, high = scale(stretch.start_s), scale(stretch.end_s)
    height = max(2.0, BAR_PX * stretch.share)
    # Neighbours touch: without the overlap a hair line would show between them.
    shape = rect(low, base - height, max(0.8, high - low + 0.15), height, looks[stretch.kind])
    return mark([shape], stretch.tip)


def _legend(
    kinds: Sequence[str], looks: Mapping[str, str], width: float
) -> tuple[list[Markup], float]:
    """Swatches with their names, over as many lines as they need; and the height of all."""
    parts: list[Markup] = []
    x, y = 0.0, 0.0
    for kind in kinds:
        needed = SWATCH_PX + 6.0 + width_px(kind) + 16.0
        if x and x + needed > width:
            x, y = 0.0, y + LEGEND_PX
        parts.append(rect(x, y + 2.0, SWATCH_PX, SWATCH_PX, looks[kind]))
        parts.append(label(x + SWATCH_PX + 6.0, y + 11.0, kind, cls="tick"))
        x += needed
    return parts, y + LEGEND_PX
