"""The loss curves of advice: does the faster configuration learn as much per token?"""

from __future__ import annotations

from functools import partial
from typing import Any

from mfubench.analysis.collection import Collection, Document, mapping, number
from mfubench.report.blocks import Block, Prose, Section, drawn_twice
from mfubench.report.figures.lines import Curve, curves
from mfubench.report.units import format_si


def learning_section(collection: Collection) -> Section | None:
    """Loss over tokens, a line per seed."""
    blocks: list[Block] = []
    for index, document in enumerate(collection.documents.get("advice", [])[:4]):
        blocks += _curves(document, f"loss-{index}")
    return Section(key="learning", title="Loss curves", blocks=blocks) if blocks else None


def _curves(document: Document, key: str) -> list[Block]:
    learning = mapping(document.body.get("learning"))
    drawn = mapping(learning.get("curves"))
    tokens = _numbers(drawn.get("tokens"))
    lines: list[Curve] = []
    for side, name, look in (
        ("baseline", "nanoGPT's own settings", "second"),
        ("candidate", "the advised configuration", "first"),
    ):
        seeds = drawn.get(side)
        if not isinstance(seeds, list):
            continue
        for seed, losses in enumerate(seeds):
            ys = _numbers(losses)
            if len(ys) == len(tokens) >= 2:
                named = f"{name}, {len(seeds)} seeds" if len(seeds) > 1 else name
                lines.append(Curve(name=named, xs=tokens, ys=ys, look=look, is_named=seed == 0))
    if not lines:
        return []
    cost = number(learning.get("cost"))
    sentence = _told(learning.get("is_equal")) + (
        f"; the final losses differ by {cost:.3g}." if cost is not None else "."
    )
    draw = partial(
        curves,
        lines,
        title="Loss over tokens",
        description=sentence,
        x_name="tokens trained",
        y_name="training loss",
        show_x=lambda n: format_si(n, "", digits=3).strip(),
        show_y=lambda loss: f"{loss:.2f}",
    )
    return [drawn_twice(key, "Loss over tokens, a line per seed", draw), Prose(text=sentence)]


def _told(is_equal: object) -> str:
    if is_equal is True:
        return "They learn the same per token"
    if is_equal is False:
        return "They do not learn the same per token"
    return "Whether they learn the same is not settled"


def _numbers(values: Any) -> list[float]:
    if not isinstance(values, list):
        return []
    found = [number(value) for value in values]
    return [value for value in found if value is not None] if None not in found else []
