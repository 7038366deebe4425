"""Scalable pictures as text: elements, scales, ticks. Every text that comes from a file is escaped.

Colours are classes that the page's style sheet fills in, so that one picture serves light, dark and
paper.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from mfubench.streams import UNSEEN

FONT_PX = 12.0
_CHARACTER_PX = 0.56 * FONT_PX


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """An element; texts and attribute values are escaped, None leaves an attribute out.

    >>> str(tag("text", "a<b", x=1.0, text_anchor="end", cls="label"))
    '<text x="1" text-anchor="end" class="label">a&lt;b</text>'
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is not None:
            attribute = "class" if key == "cls" else key.replace("_", "-")
            parts.append(f' {attribute}="{escape(_shown(value))}"')
    if not children:
        return Markup("".join(parts) + "/>")
    inner = "".join(str(escape(child)) for child in children)
    return Markup("".join(parts) + f">{inner}</{name}>")


def _shown(value: object) -> object:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value


def group(children: Sequence[object], **attributes: object) -> Markup:
    return tag("g", *(children or ("",)), **attributes)


def mark(children: Sequence[object], tip: str) -> Markup:
    """Marks that belong together, with the numbers that a pointer over them shows."""
    return group([tag("title", clean(tip)), *children], cls="mark")


def picture(
    key: str, size: tuple[float, float], children: Sequence[object], *, title: str, description: str
) -> Markup:
    """A whole picture, with the title and the description that stand in for it."""
    width, height = size
    return tag(
        "svg",
        tag("title", clean(title), id=f"{key}-title"),
        tag("desc", clean(description), id=f"{key}-desc"),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=width,
        height=height,
        role="img",
        aria_labelledby=f"{key}-title {key}-desc",
    )


def label(
    x: float, y: float, text: object, *, anchor: str | None = None, cls: str | None = None
) -> Markup:
    return tag("text", clean(str(text)), x=x, y=y, text_anchor=anchor, cls=cls)


def line(x1: float, y1: float, x2: float, y2: float, cls: str) -> Markup:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, cls=cls)


def rect(x: float, y: float, width: float, height: float, cls: str, **more: object) -> Markup:
    return tag("rect", x=x, y=y, width=max(0.0, width), height=max(0.0, height), cls=cls, **more)


def strokes(steps: str, cls: str) -> Markup:
    """Several lines of one look as one element, by the commands of a path."""
    return tag("path", d=steps, cls=cls)


def path(points: Sequence[tuple[float, float]], cls: str) -> Markup:
    """A line through points."""
    steps = " ".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(points))
    return tag("path", d=steps, cls=cls)


_LINES = {ord(c): "�" for c in "\t\n"}


def clean(text: str) -> str:
    """A text without control and direction-override characters, each replaced by �.

    >>> clean("a\\x00b\\u202ec")
    'a�b�c'
    """
    return UNSEEN.sub("�", text).translate(_LINES)


def width_px(text: str, font_px: float = FONT_PX) -> float:
    """About how wide a text will be."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return (len(text) + wide * 0.9) * _CHARACTER_PX * font_px / FONT_PX


def fit(text: str, room_px: float, font_px: float = FONT_PX) -> str:
    """A text cut to a width, with an ellipsis.

    >>> fit("attention, above the ceiling", 80)
    'attention,…'
    """
    text = clean(text)
    if width_px(text, font_px) <= room_px:
        return text
    while text and width_px(text + "…", font_px) > room_px:
        text = text[:-1]
    return text + "…"


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to pixels, linear or logarithmic."""

    low: float
    high: float
    start_px: float
    end_px: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self._on(self.low), self._on(self.high)
        if high == low:
            return (self.start_px + self.end_px) / 2
        share = (self._on(value) - low) / (high - low)
        return self.start_px + share * (self.end_px - self.start_px)

    def _on(self, value: float) -> float:
        return math.log10(max(value, 1e-300)) if self.log else value

    def ticks(self, count: int) -> list[float]:
        """Round values inside the scale, about `count` of them."""
        return (
            log_ticks(self.low, self.high) if self.log else round_ticks(self.low, self.high, count)
        )


def round_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten.

    >>> round_ticks(0.0, 39.6, 5)
    [0.0, 10.0, 20.0, 30.0]
    """
    if not high > low:
        return [low]
    raw = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) + 0.0 for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, with 2 and 5 between them where there are few.

    >>> log_ticks(1.0, 100.0)
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= 3 else (1,)
    ticks = [f * 10.0**power for power in range(first, last + 1) for f in factors]
    return [t for t in ticks if low * 0.999 <= t <= high * 1.001]


def axis_x(
    scale: Scale,
    top: float,
    bottom: float,
    show: Callable[[float], str],
    count: int = 5,
    *,
    width: float = math.inf,
) -> list[Markup]:
    """Grid lines and their labels below, none of them outside a picture of that width.

    A label that would touch the one before is left out.
    """
    parts, free_from = [], -math.inf
    for tick in scale.ticks(count):
        x, text = scale(tick), show(tick)
        parts.append(line(x, top, x, bottom, "grid"))
        half = width_px(text) / 2
        middle = max(min(x, width - half), half)
        if middle - half - 4 >= free_from:
            parts.append(label(middle, bottom + 16, text, anchor="middle", cls="tick"))
            free_from = middle + half + 4
    return parts


def axis_y(
    scale: Scale, left: float, right: float, show: Callable[[float], str], count: int = 4
) -> list[Markup]:
    """Grid lines and their labels on the left."""
    parts, free_from = [], math.inf
    for tick in scale.ticks(count):
        y = scale(tick)
        parts.append(line(left, y, right, y, "grid"))
        if y + 7 <= free_from:
            parts.append(label(left - 6, y + 4, show(tick), anchor="end", cls="tick"))
            free_from = y - 7
    return parts
