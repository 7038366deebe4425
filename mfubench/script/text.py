"""What a user of `mfubench run` sees at the end: the suite's table, and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from mfubench.report.table import render
from mfubench.results.record import CaseRecord
from mfubench.show.console import WIDTH
from mfubench.show.script import script_sentences


def run_text(
    record: CaseRecord, *, color: bool, notes: Sequence[str] = (), width: int = WIDTH
) -> str:
    """The table of one run with its answer, what was found, and where it was saved."""
    told = [*script_sentences(record), *notes]
    return render([record], color=color, notes=told, width=width)
