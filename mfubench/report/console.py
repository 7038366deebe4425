"""Tables as text, at most 100 columns wide."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType

WIDTH = 100


def as_text(*parts: RenderableType, color: bool = False, width: int = WIDTH) -> str:
    """What rich makes of tables and texts, without trailing blanks."""
    out = io.StringIO()
    console = Console(
        file=out,
        width=min(width, WIDTH),
        force_terminal=color,
        no_color=not color,
        highlight=False,
        emoji=False,
        markup=False,
    )
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
