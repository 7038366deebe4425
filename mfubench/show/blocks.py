"""What a report is made of, before it is HTML or Markdown: prose, tables, pictures, commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from mfubench.show.figures import NARROW_PX, WIDE_PX


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
    """Lines to type."""

    lines: Sequence[str]


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

    @property
    def heads(self) -> list[tuple[str, bool]]:
        """Each column's name, and whether it holds numbers."""
        return [(name.removeprefix("#"), name.startswith("#")) for name in self.columns]


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


Block = Prose | Heading | Commands | Table | Figure


@dataclass(slots=True, kw_only=True)
class Section:
    key: str
    title: str
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A whole report: who it is about, then the sections."""

    title: str
    subtitle: str
    sections: Sequence[Section]

    @property
    def figures(self) -> list[Figure]:
        return [b for section in self.sections for b in section.blocks if isinstance(b, Figure)]


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
