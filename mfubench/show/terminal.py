"""The terminal that is written to: how wide it is, and whether colours are wanted.

Imports nothing heavy, because the command line asks before it knows what will be shown.
"""

from __future__ import annotations

import os
import shutil
from typing import TextIO

WIDEST = 100
"""Longer lines are hard to read, whatever the terminal offers."""
NARROWEST = 40
COLOR_CHOICES = ("auto", "always", "never")

_chosen = ["auto"]


def choose_color(choice: str) -> None:
    """What `--color` said, for the rest of the process."""
    assert choice in COLOR_CHOICES
    _chosen[0] = choice


def has_color(stream: TextIO | None) -> bool:
    """Whether to write colours to a stream.

    `--color always` and `never` decide. Otherwise a terminal gets them, unless the environment has
    NO_COLOR (no-color.org) or `TERM=dumb`; FORCE_COLOR asks for them where there is no terminal.
    """
    if _chosen[0] != "auto":
        return _chosen[0] == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def width_of(stream: TextIO | None) -> int:
    """Columns to write to a stream: the terminal's or COLUMNS, from 40 to 100; 100 for a pipe."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given) > 0:
        columns = int(given)
    elif stream is not None and stream.isatty():
        columns = shutil.get_terminal_size().columns
    else:
        columns = WIDEST
    return max(NARROWEST, min(columns, WIDEST))
