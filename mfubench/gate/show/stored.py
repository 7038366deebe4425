"""Verdicts of a run by stored runs, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from mfubench.gate.rules.policy import INCONCLUSIVE, REGRESSED, worst
from mfubench.gate.rules.stored_runs import StoredVerdict
from mfubench.gate.show.text import change, interval
from mfubench.show.console import as_text, case_cell, plain_table


def stored_text(found: Sequence[StoredVerdict], *, run: str, color: bool = False) -> str:
    """Every case by every reference, then one verdict."""
    table = plain_table()
    table.add_column("case", overflow="fold")
    table.add_column("against", no_wrap=True)
    table.add_column("change", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for one in found:
        verdict = f"{one.verdict}: {one.reason}" if one.reason else one.verdict
        cells = (change(one.change), interval(one.low, one.high), verdict)
        table.add_row(case_cell(one.case_id), one.reference, *cells)
    of_all = worst([one.verdict for one in found])
    text = f"{of_all.upper()}: {run} by stored runs of this machine."
    if of_all in (INCONCLUSIVE, REGRESSED):
        text += " A paired gate sees smaller changes: mfubench gate."
    return as_text(table, color=color).rstrip() + "\n\n" + text
