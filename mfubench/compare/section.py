"""The page's section about comparisons of training scripts."""

from __future__ import annotations

from functools import partial

from mfubench.compare.document import FASTER, NO_DIFFERENCE, SLOWER, Comparison
from mfubench.compare.text import about, loss_sentences, speed, verdict_sentences
from mfubench.results.collection import Collection
from mfubench.show.blocks import Block, Cell, Prose, Section, Table, drawn_twice
from mfubench.show.figures import Look
from mfubench.show.figures.forest import Band, ForestRow, forest
from mfubench.show.units import UNKNOWN, format_bytes, format_duration

SHOWN = 6


LOOKS: dict[str, Look] = {FASTER: "helps", SLOWER: "hurts", NO_DIFFERENCE: "same"}
"""What is unclear is hollow."""


def compare_section(collection: Collection) -> Section | None:
    """The newest comparisons, each with its plot and its numbers."""
    blocks: list[Block] = []
    for index, document in enumerate(collection.documents.get("comparison", [])[:SHOWN]):
        found = document.read(Comparison)
        blocks += _comparison(found, collection.whose(document), f"comparison-{index}")
    return Section(key="compare", title="Scripts compared", blocks=blocks) if blocks else None


def _comparison(found: Comparison, whose: str, key: str) -> list[Block]:
    blocks: list[Block] = [Prose(text=whose + " ".join(verdict_sentences(found)))]
    rows = [
        ForestRow(
            name=side.label,
            ratio=side.ratio,
            low=side.low,
            high=side.high,
            verdict=side.verdict,
            look=LOOKS.get(side.verdict, "unclear"),
        )
        for side in found.sides[1:]
        if side.ratio is not None and side.low is not None and side.high is not None
    ]
    table = Table(
        name="Sides",
        columns=(
            *("side", "#speed", "#low", "#high", "#ms/step", "#tokens/s", "#start-up"),
            *("#memory", "losses", "verdict"),
        ),
        rows=[
            [
                Cell(text=side.label),
                *(Cell(text=speed(x), value=x) for x in (side.ratio, side.low, side.high)),
                Cell(text=_ms(side.step_s), value=side.step_s),
                Cell(text=_whole(side.tokens_per_s), value=side.tokens_per_s),
                Cell(text=format_duration(side.start_up_s), value=side.start_up_s),
                Cell(text=format_bytes(side.peak_memory_bytes), value=side.peak_memory_bytes),
                Cell(text=side.loss_verdict),
                Cell(text=side.verdict),
            ]
            for side in found.sides
        ],
    )
    if rows:
        told = "; ".join(f"{row.name} {speed(row.ratio)}, {row.verdict}" for row in rows)
        band = Band(name="precision", low=1 - found.precision, high=1 + found.precision)
        draw = partial(
            forest, rows, title="Speed over the reference", description=told, bands=[band]
        )
        caption = f"Speed over {found.sides[0].label}, with {found.confidence * 100:g} % intervals"
        blocks.append(drawn_twice(key, caption, draw))
    notes = (*loss_sentences(found), *found.notes, about(found))
    return [*blocks, table, *(Prose(text=text, kind="note") for text in notes)]


def _ms(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else f"{seconds * 1e3:.2f}"


def _whole(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.0f}"
