"""Tables and sentences as text, as wide as the terminal and at most 100 columns."""

from __future__ import annotations

import io
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from mfubench.show.terminal import WIDEST, width_of
from mfubench.streams import UNSEEN

WIDTH = WIDEST

GOOD, BAD, DOUBTFUL = "green", "red", "yellow"
VERDICT_STYLES = {
    "helps": GOOD,
    "pass": GOOD,
    "improved": GOOD,
    "holds": GOOD,
    "faster": GOOD,
    "hurts": BAD,
    "regressed": BAD,
    "does not hold": BAD,
    "slower": BAD,
    "error": BAD,
    "invalid": BAD,
    "out_of_memory": BAD,
    "unclear": DOUBTFUL,
    "inconclusive": DOUBTFUL,
    "unsteady": DOUBTFUL,
    "untestable": DOUBTFUL,
    "unavailable": DOUBTFUL,
    "unsupported": DOUBTFUL,
}
"""A colour beside the word, never instead of it."""


def plain_table(**settings: Any) -> Table:
    """The one look of our tables: a rule below the head, no frame."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, **settings)


def case_cell(case_id: str) -> str:
    """A case's id for a narrow column: it breaks before its configuration, not in a word.

    >>> case_cell("train-step/nanogpt-cpu/cpu-float32-b12-eager").splitlines()
    ['train-step/nanogpt-cpu/', 'cpu-float32-b12-eager']
    """
    head, slash, configuration = case_id.rpartition("/")
    is_narrow = width_of(sys.stdout) < WIDEST
    return f"{head}{slash}\n{configuration}" if head and is_narrow else case_id


class _PlainConsole(Console):
    """Writes no control character but its own colours, whatever a text holds."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            if UNSEEN.search(segment.text) and not segment.control:
                shown = UNSEEN.sub("\N{REPLACEMENT CHARACTER}", segment.text)
                yield Segment(shown, segment.style)
            else:
                yield segment


def plain_console(out: io.StringIO, *, color: bool = False, width: int | None = None) -> Console:
    """A console that writes what it is given: no markup, no emoji, nothing highlighted."""
    return _PlainConsole(
        file=out,
        width=width_of(sys.stdout) if width is None else min(width, WIDTH),
        force_terminal=color,
        force_jupyter=False,  # else a notebook's display gets the text, and not the caller
        no_color=not color,
        color_system="standard" if color else None,
        highlight=False,
        emoji=False,
        markup=False,
    )


def as_text(*parts: RenderableType, color: bool = False, width: int | None = None) -> str:
    """What rich makes of tables and texts, without trailing blanks. Without `width`: as wide as the
    standard output."""
    out = io.StringIO()
    console = plain_console(out, color=color, width=width)
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def wrapped(text: str, *, width: int | None = None, begin: str = "") -> str:
    """A sentence over several lines; a path or a command in it stays whole. Later lines stand
    below the text after `begin`."""
    return textwrap.fill(
        text,
        width_of(sys.stdout) if width is None else width,
        initial_indent=begin,
        subsequent_indent=" " * len(begin),
        break_long_words=False,
        break_on_hyphens=False,
    )


def verdict_text(words: str) -> Text:
    """A verdict in its colour; the words say it too.

    >>> verdict_text("helps beyond 14,812 iters").style, verdict_text("as it was").style
    ('green', '')
    """
    found = [verdict for verdict in VERDICT_STYLES if words.startswith(verdict)]
    return Text(words, style=VERDICT_STYLES[max(found, key=len)] if found else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table that may have to be left out."""

    name: str
    rank: int
    """0 stays; the largest rank is left out first."""
    is_text: bool = False
    min_width: int | None = None


Row = Sequence[str | Text]


def fitted(
    columns: Sequence[Column], rows: Sequence[Row], *, width: int, title: str | None = None
) -> tuple[Table, list[str]]:
    """A table that fits into `width`, and the names of the columns that it does without.

    Columns go by their rank until the rest fits; the text of what stays may be folded. A row of one
    cell is a heading.
    """
    kept = list(range(len(columns)))
    while True:
        table = _table([columns[n] for n in kept], [_cells(row, kept) for row in rows], title)
        console = plain_console(io.StringIO(), width=WIDTH)
        needed = table.__rich_measure__(console, console.options.update(width=10_000)).minimum
        last = max(kept, key=lambda n: columns[n].rank)
        if needed <= width or columns[last].rank == 0:
            return table, [c.name for n, c in enumerate(columns) if n not in kept]
        kept.remove(last)


def _cells(row: Row, kept: Sequence[int]) -> Row:
    return row if len(row) == 1 else [row[n] for n in kept]


def _table(columns: Sequence[Column], rows: Sequence[Row], title: str | None) -> Table:
    table = plain_table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        if column.is_text:
            table.add_column(column.name, overflow="fold", min_width=column.min_width)
        else:  # without a width of its own rich would cut "saved without" to its longest word
            cells = [str(row[number]) for row in rows if len(row) > 1]
            widest = max(map(cell_len, [column.name, *cells]))
            table.add_column(column.name, justify="right", no_wrap=True, min_width=widest)
    for row in rows:
        table.add_row(*row)
    return table


def left_out(names: Sequence[str], width: int) -> str:
    """What a narrow table says below itself; empty where all columns are there.

    >>> left_out(["memory"], 80)
    'Left out at 80 columns: memory. A wider terminal shows more.'
    """
    if not names:
        return ""
    where = "A wider terminal shows more." if width < WIDTH else "mfubench show --json has all."
    return f"Left out at {width} columns: {', '.join(names)}. {where}"
