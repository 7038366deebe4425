"""The waterfall: from the time at peak to the whole step, bar after bar."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from mfubench.results.bars import CEILING, PEAK, UNEXPLAINED, Bar
from mfubench.show.account import bar_label
from mfubench.show.figures import is_narrow
from mfubench.show.svg import Scale, axis_x, fit, label, line, mark, picture, rect
from mfubench.show.units import format_duration

ROW_PX, NARROW_ROW_PX, BAR_PX = 26.0, 42.0, 14.0
HEAD_PX = 18.0
TIME_PX, SHARE_PX = 62.0, 66.0
"""Room for the two columns of numbers at the right."""
NAMES = {
    "peak": "time at the peak",
    "ceiling": "limit below the peak",
    "gemm shapes": "shapes of the products",
    "gemm in place": "products in place",
    "attention": "attention",
    "dispatch": "launches and Python",
    "copies": "casts and copies",
    "casts and copies on the device": "casts and copies",
    "fused: normalisation + residual": "fused: norm., residual",
    "copies to and from the host": "copies with the host",
    "idle: host had not launched": "idle: not launched",
    "idle: launched, not started": "idle: not started",
}
"""Short names for the margin; the tip and the table have the long ones."""
SMALL_RATIO = 0.025
"""Bars below this share of the step are drawn as one, where there are three or more."""
_NEVER_GROUPED = (PEAK, CEILING, UNEXPLAINED)


def waterfall(
    bars: Sequence[Bar], *, title: str, description: str, key: str, width: float
) -> Markup:
    """Each bar starts where the one before ended. What lies above its floor has the accent."""
    bars = grouped(bars)
    narrow = is_narrow(width)
    total_s = sum(bar.seconds for bar in bars)
    left = 16.0 if narrow else 200.0
    right = width - (16.0 if narrow else TIME_PX + SHARE_PX + 14.0)
    row_px = NARROW_ROW_PX if narrow else ROW_PX
    ends = _ends_s(bars)
    scale = Scale(min(0.0, *ends), max(total_s, *ends), left, right)
    height = HEAD_PX + row_px * (len(bars) + 1)
    axis = axis_x(scale, HEAD_PX, height, _axis_time, 3 if narrow else 4, width=width)
    parts: list[object] = list(axis)
    parts.append(label(width - SHARE_PX, 12, "time", anchor="end", cls="tick"))
    parts.append(label(width - 2, 12, "of step", anchor="end", cls="tick"))
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


def grouped(bars: Sequence[Bar]) -> list[Bar]:
    """The bars with the small ones as one, before what is unexplained.

    >>> names = [bar.name for bar in grouped([
    ...     Bar(name="peak", seconds=0.9, floor_s=0.9),
    ...     *(Bar(name=n, seconds=0.02, floor_s=None) for n in ("data", "loss", "clip")),
    ...     Bar(name="unexplained", seconds=0.04, floor_s=None)])]
    >>> names
    ['peak', '3 smaller parts', 'unexplained']
    """
    total_s = sum(bar.seconds for bar in bars)
    small = [
        bar
        for bar in bars
        if bar.name not in _NEVER_GROUPED and abs(bar.seconds) < SMALL_RATIO * total_s
    ]
    if len(small) < 3:
        return list(bars)
    kept = [bar for bar in bars if bar not in small]
    seconds = sum(bar.seconds for bar in small)
    won_s = sum(bar.to_win_s or 0.0 for bar in small)
    told = ", ".join(f"{bar_label(bar)} {format_duration(bar.seconds)}" for bar in small)
    one = Bar(
        name=f"{len(small)} smaller parts",
        seconds=seconds,
        floor_s=None,
        to_win_s=max(0.0, min(won_s, seconds)),
        source=told,
    )
    at = next((i for i, bar in enumerate(kept) if bar.name == UNEXPLAINED), len(kept))
    return [*kept[:at], one, *kept[at:]]


def _axis_time(seconds: float) -> str:
    return format_duration(seconds).replace(".00 ", " ").replace(".0 ", " ") if seconds else "0"


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
        if split - low >= 0.05:
            drawn.append(rect(low, top, split - low, BAR_PX, _cls(bar)))
        if high - split >= 0.05:
            drawn.append(rect(split, top, high - split, BAR_PX, "to-win"))
        if high - low < 1:
            drawn.append(rect(low, top, 1.0, BAR_PX, _cls(bar)))
    else:
        drawn.append(rect(low, top, max(1.0, high - low), BAR_PX, "gives-back"))
    name_room = (width - SHARE_PX - TIME_PX - 8) if narrow else scale.start_px - 12
    doubt = " (!)" if bar.reliable is False else ""
    short = name if "peak unknown" in name else NAMES.get(bar.name, name)
    drawn.append(label(2 if narrow else 0, text_y, fit(short + doubt, name_room), cls="name halo"))
    drawn += _values(seconds, total_s, text_y, width, "value halo")
    return mark(drawn, _tip(bar, name, total_s))


def _cls(bar: Bar) -> str:
    return "peak" if bar.name == "peak" else "floor"


def _values(seconds: float, total_s: float, y: float, width: float, cls: str) -> list[Markup]:
    ratio = seconds / total_s
    minus = "−" if seconds < 0 else ""
    # What is rounding only reads 0: an account closes to the last bit of a number, not beyond.
    time = f"{minus}{format_duration(abs(seconds))}" if abs(ratio) > 1e-6 else "0"
    share = f"{minus if abs(ratio) >= 5e-4 else ''}{abs(ratio) * 100:.1f} %"
    return [
        label(width - SHARE_PX, y, time, anchor="end", cls=cls),
        label(width - 2, y, share, anchor="end", cls=cls),
    ]


def _tip(bar: Bar, name: str, total_s: float) -> str:
    share = bar.seconds / total_s * 100
    parts = [f"{name}: {format_duration(bar.seconds)}, {share:.2f} % of the step"]
    if bar.floor_s is not None:
        parts.append(f"at least {format_duration(bar.floor_s)} here")
    if bar.ablation_s is not None:
        parts.append(f"the step saved {format_duration(bar.ablation_s)} without it")
    return "; ".join([*parts, str(bar.source)])


def _total(total_s: float, y: float, scale: Scale, width: float, narrow: bool) -> Markup:
    text_y = y + (15.0 if narrow else 17.0)
    top = y + (22.0 if narrow else 6.0)
    return mark(
        [
            rect(scale(0), top, scale(total_s) - scale(0), BAR_PX, "whole"),
            label(2 if narrow else 0, text_y, "the step", cls="name strong halo"),
            *_values(total_s, total_s, text_y, width, "value strong halo"),
        ],
        f"the step: {format_duration(total_s)}",
    )
