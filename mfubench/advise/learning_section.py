"""The loss curves of advice: does the faster configuration learn as much per token?"""

from __future__ import annotations

from functools import partial
from typing import Any

from mfubench.results.collection import Collection, Document, mapping, number
from mfubench.show.blocks import Block, Prose, Section, drawn_twice
from mfubench.show.figures.lines import Curve, curves
from mfubench.show.units import format_si


def learning_section(collection: Collection) -> Section | None:
    """Loss over tokens, a line per seed."""
    blocks: list[Block] = []
    for index, document in enumerate(collection.documents.get("advice", [])[:4]):
        blocks += _curves(document, f"loss-{index}")
    return Section(key="learning", title="Loss curves", blocks=blocks) if blocks else None


def _curves(document: Document, key: str) -> list[Block]:
    learning = mapping(document.body.get("learning"))
    lines: list[Curve] = []
    for side, name, look in (
        ("baseline", "nanoGPT's own settings", "second"),
        ("candidate", "the advised configuration", "first"),
    ):
        runs = learning.get(side)
        if not isinstance(runs, list):
            continue
        for index, run in enumerate(map(mapping, runs)):
            tokens, losses = _numbers(run.get("tokens")), _numbers(run.get("losses"))
            if len(losses) == len(tokens) >= 2:
                named = f"{name}, {len(runs)} seeds" if len(runs) > 1 else name
                line = Curve(name=named, xs=tokens, ys=losses, look=look, is_named=index == 0)
                lines.append(line)
    if not lines:
        return []
    cost = number(learning.get("cost"))
    sentence = _told(learning.get("is_equal")) + (
        f": its validation loss lies {cost:+.3f} from the baseline's, mean over seeds."
        if cost is not None
        else "."
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
        return "It learns the same from the same tokens"
    if is_equal is False:
        return "It learns less from the same tokens"
    return "Whether it learns the same is not settled"


def _numbers(values: Any) -> list[float]:
    if not isinstance(values, list):
        return []
    found = [number(value) for value in values]
    return [value for value in found if value is not None] if None not in found else []
