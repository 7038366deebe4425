"""What a user of `mfubench run` sees at the end: the suite's table, and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from mfubench.show.script import Info, script_sentences
from mfubench.show.table import render


def run_text(info: Info, *, color: bool, notes: Sequence[str] = ()) -> str:
    """The table of one run with its answer, what was found, and where it was saved."""
    return render([info], color=color, notes=[*script_sentences(info), *notes])
