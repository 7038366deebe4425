"""Verdicts of a run by stored runs, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from mfubench.analysis.gate_policy import INCONCLUSIVE, REGRESSED, worst
from mfubench.analysis.gate_stored import StoredVerdict
from mfubench.report.console import as_text
from mfubench.report.units import UNKNOWN


def stored_text(found: Sequence[StoredVerdict], *, run: str, color: bool = False) -> str:
    """Every case by every reference, then one verdict."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    table.add_column("case", overflow="fold")
    table.add_column("against", no_wrap=True)
    table.add_column("change", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for one in found:
        spread = UNKNOWN
        if one.low is not None and one.high is not None:
            spread = f"{one.low * 100:+.1f} to {one.high * 100:+.1f} %"
        change = UNKNOWN if one.change is None else f"{one.change * 100:+.1f} %"
        verdict = f"{one.verdict}: {one.reason}" if one.reason else one.verdict
        table.add_row(one.case_id, one.reference, change, spread, verdict)
    verdict = worst([one.verdict for one in found])
    text = f"{verdict.upper()}: {run} by stored runs of this machine."
    if verdict in (INCONCLUSIVE, REGRESSED):
        text += " A paired gate sees smaller changes: mfubench gate."
    return as_text(table, color=color).rstrip() + "\n\n" + text
