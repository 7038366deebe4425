"""The heat map: a quantity over settings (rows) and batch sizes (columns)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mfubench.show.figures import is_narrow
from mfubench.show.svg import fit, group, label, line, mark, picture, rect, tag

ROW_PX, STEPS = 34.0, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatCell:
    """One case: its value as text and as a share of the largest, or why there is none."""

    text: str
    share: float | None
    tip: str


def heatmap(
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Mapping[tuple[str, str], HeatCell],
    *,
    title: str,
    description: str,
    key: str,
    width: float,
) -> Markup:
    """A stronger colour is more. A hatched cell has no number and a reason; an empty one was not
    asked for."""
    narrow = is_narrow(width)
    left = 0.0 if narrow else 250.0
    lines = 2 if any("\n" in row for row in rows) else 1
    row_px = ROW_PX + (4.0 + 14.0 * lines if narrow else 0.0)
    cell_px = min(130.0, (width - left) / max(1, len(columns)))
    hatch = tag(
        "pattern",
        line(0, 0, 0, 6, "hatch"),
        id=f"{key}-hatch",
        width=6.0,
        height=6.0,
        patternUnits="userSpaceOnUse",
        patternTransform="rotate(45)",
    )
    parts: list[object] = [tag("defs", hatch)]
    for index, column in enumerate(columns):
        x = left + (index + 0.5) * cell_px
        parts.append(label(x, 12, fit(column, cell_px), anchor="middle", cls="tick"))
    for r, row in enumerate(rows):
        y = 20.0 + r * row_px
        name_y = y + (13.0 if narrow else 21.0)
        name, _, below = row.partition("\n")
        room = width if narrow else left - 12
        if below:
            name_y -= 0.0 if narrow else 6.0
            parts.append(label(0, name_y + 13, fit(below, room), cls="tick"))
        parts.append(label(0, name_y, fit(name, room), cls="name"))
        top = y + (row_px - ROW_PX)
        for c, column in enumerate(columns):
            box = (left + c * cell_px, top, cell_px)
            parts.append(_cell(cells.get((row, column)), box, key))
    height = 20.0 + row_px * len(rows)
    return picture(key, (width, height + 4), parts, title=title, description=description)


def _cell(cell: HeatCell | None, box: tuple[float, float, float], key: str) -> Markup:
    x, y, width = box
    inner = (x + 1.5, y + 1.5, width - 3, ROW_PX - 3)
    if cell is None:
        return group([rect(*inner, cls="cell not-asked")])
    middle = x + width / 2
    text = fit(cell.text, width - 8)
    if cell.share is None:
        shapes = [
            rect(*inner, cls="cell none"),
            rect(*inner, cls="", fill=f"url(#{key}-hatch)"),
            label(middle, y + 21, text, anchor="middle", cls="cell-text halo"),
        ]
    else:
        level = max(1, min(STEPS, round(cell.share * STEPS)))
        shapes = [
            rect(*inner, cls=f"cell heat-{level}"),
            label(middle, y + 21, text, anchor="middle", cls="cell-text"),
        ]
    return mark(shapes, cell.tip)
