"""Tables and sentences as text, at most 100 columns wide."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table

from mfubench.streams import UNSEEN

WIDTH = 100


def plain_table(**settings: Any) -> Table:
    """The one look of our tables: a rule below the head, no frame."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, **settings)


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


def plain_console(out: io.StringIO, *, color: bool = False, width: int = WIDTH) -> Console:
    """A console that writes what it is given: no markup, no emoji, nothing highlighted."""
    return _PlainConsole(
        file=out,
        width=min(width, WIDTH),
        force_terminal=color,
        no_color=not color,
        highlight=False,
        emoji=False,
        markup=False,
    )


def as_text(*parts: RenderableType, color: bool = False, width: int = WIDTH) -> str:
    """What rich makes of tables and texts, without trailing blanks."""
    out = io.StringIO()
    console = plain_console(out, color=color, width=width)
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def wrapped(text: str) -> str:
    """A sentence over several lines; a path or a command in it stays whole."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)
