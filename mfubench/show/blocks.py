"""What a report is made of, before it is HTML or Markdown: prose, tables, pictures, commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from markupsafe import Markup

from mfubench.show.figures import MARKS, NARROW_PX, WIDE_PX, Look
from mfubench.show.units import UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Prose:
    """A paragraph. `lead` is what the user came for, `note` is small print."""

    text: str
    kind: str = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """Lines to type, with a button to copy them."""

    lines: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One finding in one sentence, with its mark before it."""

    text: str
    look: Look = "plain"

    @property
    def mark(self) -> str:
        return MARKS[self.look]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """Findings, one a line."""

    lines: Sequence[Verdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One large number: what it is, its value, and what it is measured against."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A table cell: what is read, and what is sorted by where that is a number."""

    text: str
    value: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns whose name starts with `#` hold numbers."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    is_folded: bool = False
    """Behind a click: the numbers of a picture."""
    can_filter: bool = False
    is_cards: bool = False
    """A row becomes a card on a phone."""
    is_facts: bool = False
    """Names and long values, which wrap instead of scrolling."""

    @property
    def heads(self) -> list[tuple[str, bool]]:
        """Each column's name, and whether it holds numbers."""
        return [(name.removeprefix("#"), name.startswith("#")) for name in self.columns]

    def without_empty_columns(self) -> Table:
        """The same table without the columns in which nothing is known."""
        kept = [
            index
            for index in range(len(self.columns))
            if any(row[index].text != UNKNOWN for row in self.rows)
        ]
        return replace(
            self,
            columns=[self.columns[index] for index in kept],
            rows=[[row[index] for index in kept] for row in self.rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A picture, drawn twice, with the numbers that it is made of."""

    key: str
    caption: str
    wide: Markup
    narrow: Markup
    table: Table | None = None
    is_tile: bool = False
    """Small: stands beside others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """What few readers need, behind a click."""

    summary: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One machine: its name, a gauge, large numbers, findings, and the rest folded."""

    name: str
    note: str
    blocks: Sequence[Block]
    tiles: Sequence[Tile] = ()
    gauge: Figure | None = None


Block = Prose | Heading | Commands | Verdicts | Table | Figure | Fold | Card


def every_block(blocks: Iterable[Block]) -> Iterator[Block]:
    """These blocks, what is folded in them, and the tables below pictures, in the page's order."""
    for block in blocks:
        yield block
        if isinstance(block, Card) and block.gauge is not None:
            yield block.gauge
        if isinstance(block, Fold | Card):
            yield from every_block(block.blocks)
        if isinstance(block, Figure) and block.table is not None:
            yield block.table


@dataclass(slots=True, kw_only=True)
class Section:
    key: str
    title: str
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A whole report: the one sentence that matters most, then the sections."""

    title: str
    subtitle: str
    sections: Sequence[Section]

    @property
    def blocks(self) -> list[Block]:
        """Every block, folded ones and the tables of pictures included."""
        return [block for section in self.sections for block in every_block(section.blocks)]

    @property
    def figures(self) -> list[Figure]:
        """Every picture."""
        return [block for block in self.blocks if isinstance(block, Figure)]


def drawn_twice(
    key: str,
    caption: str,
    draw: Callable[..., Markup],
    *,
    table: Table | None = None,
) -> Figure:
    """A figure from a function of key and width."""
    return Figure(
        key=key,
        caption=caption,
        wide=draw(key=key, width=WIDE_PX),
        narrow=draw(key=f"{key}-narrow", width=NARROW_PX),
        table=table,
    )


def words(*texts: str) -> list[Cell]:
    return [Cell(text=text) for text in texts]
