"""The gauge: the share of the peak in use, what can be reached, and what nanoGPT says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mfubench.show.svg import Scale, fit, label, line, mark, picture, rect, tag, width_px

BAR_PX, TOP_PX, ROW_PX = 24.0, 22.0, 17.0
EDGE_PX = 6.0
"""Room for half a mark at either end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A named place on the gauge, as a share of the whole."""

    share: float
    text: str
    look: str = ""
    """`nanogpt` marks what a log shows, which is no share of this machine."""


def gauge(
    used: float,
    used_text: str,
    ticks: Sequence[Tick],
    *,
    title: str,
    description: str,
    key: str,
    width: float,
    reachable: float | None = None,
) -> Markup:
    """A bar from nothing to the whole; a share beyond it is drawn at the end.

    `used` and `reachable` are shares; between them lies what can be won, and beyond what no program
    reached here.
    """
    scale = Scale(0.0, 1.0, EDGE_PX, width - EDGE_PX)

    def at(share: float) -> float:
        return scale(min(1.0, max(0.0, share)))

    parts: list[object] = [rect(scale(0), TOP_PX, scale(1) - scale(0), BAR_PX, "gauge-rest")]
    if reachable is not None:
        parts.append(rect(scale(0), TOP_PX, at(reachable) - scale(0), BAR_PX, "gauge-reach"))
    parts.append(rect(scale(0), TOP_PX, max(1.0, at(used) - scale(0)), BAR_PX, "gauge-used"))
    half = width_px(used_text, 13.0) / 2
    x = min(max(at(used), half + 1), width - half - 1)
    parts.append(label(x, TOP_PX - 7, used_text, anchor="middle", cls="strong"))
    taken: list[list[tuple[float, float]]] = []
    bottom = TOP_PX + BAR_PX
    for tick in ticks:
        parts.append(_tick(tick, at(tick.share), bottom, width, taken))
    height = bottom + 10.0 + ROW_PX * len(taken)
    return picture(key, (width, height), parts, title=title, description=description)


def _tick(
    tick: Tick, x: float, bottom: float, width: float, taken: list[list[tuple[float, float]]]
) -> Markup:
    """A place and its name below it, in the first row that has room."""
    text = fit(tick.text, width - 4)
    wide = width_px(text)
    low = min(max(x - wide / 2, 0.0), width - wide)
    span = (low - 8.0, low + wide + 8.0)
    row = next(
        (i for i, spans in enumerate(taken) if all(span[1] < a or b < span[0] for a, b in spans)),
        len(taken),
    )
    if row == len(taken):
        taken.append([])
    taken[row].append(span)
    y = bottom + 22.0 + ROW_PX * row
    drawn: list[object] = [line(x, TOP_PX, x, bottom + 6.0, "gauge-tick")]
    if tick.look == "nanogpt":
        points = (
            f"{x:.1f},{bottom - 3:.1f} {x - 5:.1f},{bottom + 7:.1f} {x + 5:.1f},{bottom + 7:.1f}"
        )
        drawn = [tag("polygon", points=points, cls="gauge-said")]
    if row:
        drawn.append(line(x, bottom + 8.0, x, y - 12.0, "link"))
    anchor, place = "start", low
    if low + wide >= width - 0.5:
        anchor, place = "end", width
    return mark([*drawn, label(place, y, text, anchor=anchor, cls="tick")], tick.text)
