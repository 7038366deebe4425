"""The roofline: what the measured ceilings allow at an intensity, and where the model stands."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from mfubench.analysis.roofline import Roof, RoofPoint
from mfubench.report.figures import is_narrow
from mfubench.report.svg import (
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
from mfubench.report.units import format_si


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
    top, bottom, left, right = 28.0, 330.0, 74.0, width - 12.0
    xs = [point.flops_per_byte for point in points]
    ys = [point.flops_per_s for point in points]
    ridge = roof.flops_per_s / roof.bytes_per_s if roof.bytes_per_s else min(xs)
    x_scale = Scale(min(*xs, ridge) / 3, max(*xs, ridge) * 3, left, right, log=True)
    peak = roof.peak_flops_per_s or roof.flops_per_s
    low_y = min(*ys, roof.flops_per_s) / 4
    if roof.bytes_per_s:
        low_y = min(low_y, max(roof.bytes_per_s * x_scale.low, low_y / 10))
    y_scale = Scale(low_y, max(peak, *ys) * 1.6, bottom, top, log=True)
    parts: list[object] = [label(0, 12, "FLOP/s", cls="axis")]
    parts += axis_x(x_scale, top, bottom, lambda v: f"{v:g}")
    parts += axis_y(y_scale, left, right, lambda v: format_si(v, "", digits=1).strip())
    parts.append(label(right, bottom + 34, "FLOPs per byte", anchor="end", cls="axis"))
    parts += _roofs(roof, x_scale, y_scale, narrow)
    taken: list[tuple[float, float, float]] = []
    for point in sorted(points, key=lambda p: not p.is_model):
        parts.append(_point(point, x_scale, y_scale, taken))
    return picture(key, (width, bottom + 42), parts, title=title, description=description)


def _roofs(roof: Roof, x_scale: Scale, y_scale: Scale, narrow: bool) -> list[Markup]:
    right = x_scale.end_px
    parts = []
    if roof.peak_flops_per_s:
        y = y_scale(roof.peak_flops_per_s)
        tip = f"spec peak {format_si(roof.peak_flops_per_s, 'FLOP/s')}"
        parts.append(mark([path([(x_scale.start_px, y), (right, y)], "curve peak-line")], tip))
        parts.append(label(right, y - 6, tip, anchor="end", cls="tick"))
    measured = f"best GEMM {format_si(roof.flops_per_s, 'FLOP/s')}, measured"
    y = y_scale(roof.flops_per_s)
    if roof.bytes_per_s:
        ridge = roof.flops_per_s / roof.bytes_per_s
        slope = f"{roof.bandwidth_name} {format_si(roof.bytes_per_s, 'B/s')}, measured"
        foot = max(x_scale.low, y_scale.low / roof.bytes_per_s)
        places = [(foot, foot * roof.bytes_per_s), (ridge, roof.flops_per_s)]
        line = [(x_scale(a), y_scale(b)) for a, b in places] + [(right, y)]
        parts.append(mark([path(line, "curve roof")], f"{measured}; {slope}"))
        x = (line[0][0] * 0.45 + line[1][0] * 0.55) + 10
        y_mid = line[0][1] * 0.45 + line[1][1] * 0.55
        shown = slope if not narrow else slope.removesuffix(", measured")
        parts.append(label(x, y_mid + 14, shown, cls="tick"))
    else:
        parts.append(mark([path([(x_scale.start_px, y), (right, y)], "curve roof")], measured))
    parts.append(label(right, y + 15, measured, anchor="end", cls="tick"))
    return parts


def _point(
    point: RoofPoint, x_scale: Scale, y_scale: Scale, taken: list[tuple[float, float, float]]
) -> Markup:
    x, y = x_scale(point.flops_per_byte), y_scale(point.flops_per_s)
    tip = (
        f"{point.name}: {format_si(point.flops_per_s, 'FLOP/s')} at "
        f"{point.flops_per_byte:.3g} FLOPs per byte"
    )
    if not point.is_model:
        return mark([tag("circle", cx=x, cy=y, r=3.0, cls="dot faint")], tip)
    text = fit(point.name, 150)
    wide = width_px(text)
    to_left = x + 10 + wide > x_scale.end_px
    start = x - 10 - wide if to_left else x + 10
    text_y = y + 4
    while any(abs(text_y - ty) < 14 and start < tx + tw and tx < start + wide for tx, ty, tw in taken):
        text_y += 14
    taken.append((start, text_y, wide))
    return mark(
        [
            tag("circle", cx=x, cy=y, r=5.0, cls="dot first solid"),
            label(start, text_y, text, cls="name halo"),
        ],
        tip,
    )
