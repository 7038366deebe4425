"""The roofline: what the measured ceilings allow at an intensity, and where the model stands."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from mfubench.analysis.roofline import Roof, RoofPoint
from mfubench.show.figures import is_narrow
from mfubench.show.svg import (
    Scale,
    axis_x,
    axis_y,
    fit,
    label,
    mark,
    path,
    picture,
    tag,
    width_px,
)
from mfubench.show.units import format_si


def roofline(
    roof: Roof,
    points: Sequence[RoofPoint],
    *,
    title: str,
    description: str,
    key: str,
    width: float,
) -> Markup:
    """FLOP/s over FLOPs per byte, both logarithmic."""
    narrow = is_narrow(width)
    top = 62.0 if narrow else 46.0
    bottom, left, right = top + 270.0, 58.0, width - 20.0
    xs = [point.flops_per_byte for point in points]
    ys = [point.flops_per_s for point in points]
    ridge = roof.flops_per_s / roof.bytes_per_s if roof.bytes_per_s else min(xs)
    x_scale = Scale(min(*xs, ridge) / 3, max(*xs, ridge) * 3, left, right, log=True)
    peak = roof.peak_flops_per_s or roof.flops_per_s
    low_y = min(*ys, roof.flops_per_s) / 4
    if roof.bytes_per_s:
        low_y = min(low_y, max(roof.bytes_per_s * x_scale.low, low_y / 10))
    y_scale = Scale(low_y, max(peak, *ys) * 1.6, bottom, top, log=True)
    parts: list[object] = [label(0, top - 12, "FLOP/s", cls="axis")]
    parts += _legend(roof, width, narrow)
    parts += axis_x(x_scale, top, bottom, lambda v: f"{v:g}", width=width)
    parts += axis_y(y_scale, left, right, lambda v: format_si(v, "", digits=1).strip())
    parts.append(label(right, bottom + 34, "FLOPs per byte", anchor="end", cls="axis"))
    places = [(x_scale(p.flops_per_byte), y_scale(p.flops_per_s)) for p in points if p.is_model]
    taken: list[Box] = [(x - 6, y - 6, 12.0, 12.0) for x, y in places]
    parts += _roofs(roof, x_scale, y_scale, taken)
    for point in sorted(points, key=lambda p: p.is_model):
        parts.append(_point(point, x_scale, y_scale, taken))
    return picture(key, (width, bottom + 42), parts, title=title, description=description)


Box = tuple[float, float, float, float]
"""Left, top, width and height of what is written already."""


def _roofs(roof: Roof, x_scale: Scale, y_scale: Scale, taken: list[Box]) -> list[Markup]:
    left, right = x_scale.start_px, x_scale.end_px
    points = len(taken)
    parts = []
    if roof.peak_flops_per_s:
        y = y_scale(roof.peak_flops_per_s)
        tip = f"spec peak {format_si(roof.peak_flops_per_s, 'FLOP/s')}"
        parts.append(mark([path([(left, y), (right, y)], "curve peak-line")], tip))
    y = y_scale(roof.flops_per_s)
    if not roof.bytes_per_s:
        return [*parts, mark([path([(left, y), (right, y)], "curve roof")], measured(roof))]
    ridge = roof.flops_per_s / roof.bytes_per_s
    slope = f"{roof.bandwidth_name} {format_si(roof.bytes_per_s, 'B/s')}, measured"
    foot = max(x_scale.low, y_scale.low / roof.bytes_per_s)
    places = [(foot, foot * roof.bytes_per_s), (ridge, roof.flops_per_s)]
    line = [(x_scale(a), y_scale(b)) for a, b in places] + [(right, y)]
    parts.append(mark([path(line, "curve roof")], f"{measured(roof)}; {slope}"))
    (x1, y1), (x2, y2) = line[:2]
    taken.append((x2, y - 3, right - x2, 6.0))
    steps = [i / 10 for i in range(11)]
    taken += [(x1 + s * (x2 - x1) - 4, y1 + s * (y2 - y1) - 4, 8.0, 8.0) for s in steps]
    x, text_y = x1 + 14, y1 + 8
    while not _is_clear(x, text_y, width_px(slope), taken[:points]) and text_y < y_scale.start_px:
        text_y += 14
    parts.append(label(x, text_y, slope, cls="tick halo"))
    taken.append((x, text_y - 11, width_px(slope), 14.0))
    return parts


def measured(roof: Roof) -> str:
    return f"sustained GEMM {format_si(roof.flops_per_s, 'FLOP/s')}, measured"


def _legend(roof: Roof, width: float, narrow: bool) -> list[Markup]:
    named = [("curve roof", measured(roof))]
    if roof.peak_flops_per_s:
        peak = f"spec peak {format_si(roof.peak_flops_per_s, 'FLOP/s')}"
        named.append(("curve peak-line", peak))
    parts = []
    for index, (look, name) in enumerate(named):
        x, y = (0.0, 12.0 + 17.0 * index) if narrow else (index * width / 2, 12.0)
        parts.append(path([(x, y - 4), (x + 22, y - 4)], look))
        parts.append(label(x + 28, y, name, cls="tick"))
    return parts


def _point(point: RoofPoint, x_scale: Scale, y_scale: Scale, taken: list[Box]) -> Markup:
    x, y = x_scale(point.flops_per_byte), y_scale(point.flops_per_s)
    tip = (
        f"{point.name}: {format_si(point.flops_per_s, 'FLOP/s')} at "
        f"{point.flops_per_byte:.3g} FLOPs per byte"
    )
    if not point.is_model:
        return mark([tag("circle", cx=x, cy=y, r=3.0, cls="dot faint")], tip)
    text = fit(point.name, 150)
    left, baseline = _free_place(x, y, width_px(text), x_scale, taken)
    taken.append((left, baseline - 11, width_px(text), 14.0))
    return mark(
        [
            tag("circle", cx=x, cy=y, r=5.0, cls="dot first solid"),
            label(left, baseline, text, cls="name halo"),
        ],
        tip,
    )


def _is_clear(left: float, baseline: float, wide: float, taken: Sequence[Box]) -> bool:
    """Whether a text of this width would overprint nothing."""
    return all(
        left + wide < bx or bx + bw < left or baseline + 3 < by or by + bh < baseline - 11
        for bx, by, bw, bh in taken
    )


def _free_place(
    x: float, y: float, wide: float, x_scale: Scale, taken: list[Box]
) -> tuple[float, float]:
    """Where a point's name fits: right of it, left, below, above; lower and lower at worst."""
    beside = [
        (x + 10, y + 4),
        (x - 10 - wide, y + 4),
        (x - wide / 2, y + 20),
        (x - wide / 2, y - 10),
    ]
    lower = [(max(x_scale.start_px, x - wide / 2), y + 20 + 14 * i) for i in range(1, 12)]
    for left, baseline in (*beside, *lower):
        inside = x_scale.start_px <= left and left + wide <= x_scale.end_px
        if inside and _is_clear(left, baseline, wide, taken):
            return left, baseline
    return lower[-1]
