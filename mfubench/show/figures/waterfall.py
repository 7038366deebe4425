"""The waterfall: from the time at peak to the whole step, bar after bar."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from mfubench.results.bars import Bar
from mfubench.show.account import bar_label
from mfubench.show.figures import is_narrow
from mfubench.show.svg import Scale, axis_x, fit, label, line, mark, picture, rect, width_px

ROW_PX, NARROW_ROW_PX, BAR_PX = 26.0, 42.0, 14.0
HEAD_PX = 18.0


def waterfall(
    bars: Sequence[Bar], *, title: str, description: str, key: str, width: float
) -> Markup:
    """Each bar starts where the one before ended. What lies above its floor has the accent."""
    narrow = is_narrow(width)
    total_s = sum(bar.seconds for bar in bars)
    left = 16.0 if narrow else 248.0
    right = width - (16.0 if narrow else 112.0)
    row_px = NARROW_ROW_PX if narrow else ROW_PX
    ends = _ends_s(bars)
    scale = Scale(min(0.0, *ends), max(total_s, *ends), left, right)
    height = HEAD_PX + row_px * (len(bars) + 1)
    parts: list[object] = list(axis_x(scale, HEAD_PX, height, lambda t: f"{t * 1e3:g} ms", 4))
    parts.append(label(width - 2, 12, "ms · points of MFU", anchor="end", cls="tick"))
    rows, start_s = [], 0.0
    for index, bar in enumerate(bars):
        y = HEAD_PX + index * row_px
        x, top = scale(start_s + bar.seconds), y + (22.0 if narrow else 6.0) + BAR_PX
        if not narrow:
            parts.append(line(x, top, x, top + row_px - BAR_PX, "link"))
        rows.append(_row(bar, start_s, y, scale, width, narrow, total_s))
        start_s += bar.seconds
    parts += rows
    parts.append(_total(total_s, height - row_px, scale, width, narrow))
    return picture(key, (width, height + 24), parts, title=title, description=description)


def _ends_s(bars: Sequence[Bar]) -> list[float]:
    ends, at_s = [], 0.0
    for bar in bars:
        at_s += bar.seconds
        ends.append(at_s)
    return ends


def _row(
    bar: Bar, start_s: float, y: float, scale: Scale, width: float, narrow: bool, total_s: float
) -> Markup:
    seconds, name = bar.seconds, bar_label(bar)
    low, high = sorted((scale(start_s), scale(start_s + seconds)))
    top = y + (22.0 if narrow else 6.0)
    text_y = y + (15.0 if narrow else 17.0)
    drawn: list[object] = []
    won_s = bar.to_win_s or 0.0
    if seconds >= 0:
        split = scale(start_s + seconds - min(won_s, seconds))
        drawn.append(rect(low, top, max(split - low, 0.0), BAR_PX, _cls(bar)))
        drawn.append(rect(split, top, high - split, BAR_PX, "to-win"))
        if high - low < 1:
            drawn.append(rect(low, top, 1.0, BAR_PX, _cls(bar)))
    else:
        drawn.append(rect(low, top, max(1.0, high - low), BAR_PX, "gives-back"))
    values = _values(seconds, total_s)
    name_room = (width - width_px(values) - 14) if narrow else scale.start_px - 12
    doubt = " (!)" if bar.reliable is False else ""
    drawn.append(label(2 if narrow else 0, text_y, fit(name + doubt, name_room), cls="name halo"))
    drawn.append(label(width - 2, text_y, values, anchor="end", cls="value halo"))
    return mark(drawn, _tip(bar, name, total_s))


def _cls(bar: Bar) -> str:
    return "peak" if bar.name == "peak" else "floor"


def _values(seconds: float, total_s: float) -> str:
    minus = "−" if seconds < 0 else ""
    return f"{minus}{abs(seconds) * 1e3:.2f} · {minus}{abs(seconds) / total_s * 100:.1f}"


def _tip(bar: Bar, name: str, total_s: float) -> str:
    parts = [f"{name}: {bar.seconds * 1e3:.3f} ms, {bar.seconds / total_s * 100:.2f} points"]
    if bar.floor_s is not None:
        parts.append(f"could be {bar.floor_s * 1e3:.3f} ms")
    if bar.ablation_s is not None:
        parts.append(f"the step saved {bar.ablation_s * 1e3:.3f} ms without it")
    return "; ".join([*parts, str(bar.source)])


def _total(total_s: float, y: float, scale: Scale, width: float, narrow: bool) -> Markup:
    text_y = y + (15.0 if narrow else 17.0)
    top = y + (22.0 if narrow else 6.0)
    return mark(
        [
            rect(scale(0), top, scale(total_s) - scale(0), BAR_PX, "whole"),
            label(2 if narrow else 0, text_y, "the step", cls="name strong halo"),
            label(
                width - 2, text_y, _values(total_s, total_s), anchor="end", cls="value strong halo"
            ),
        ],
        f"the step: {total_s * 1e3:.3f} ms",
    )
