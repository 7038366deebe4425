"""The claims as a table: what this machine says to each, and with which number."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.table import Table

from mfubench.results.answers import ClaimResult
from mfubench.results.outcomes import known
from mfubench.results.record import CaseRecord
from mfubench.show.console import plain_table, verdict_text
from mfubench.show.units import format_duration, format_share, format_si


def claims_table(records: Sequence[CaseRecord]) -> Table:
    """Every claim that was asked, in their order."""
    table = plain_table(
        caption="docs/claims.md has the rule of each verdict",
        caption_justify="left",
    )
    table.add_column("", no_wrap=True)
    table.add_column("claim", ratio=4, overflow="fold")
    table.add_column("here", no_wrap=True, min_width=13)
    table.add_column("because", ratio=6, overflow="fold")
    for record in sorted(records, key=lambda i: claim_rank(known(i.claim).id)):
        claim = known(record.claim)
        table.add_row(claim.id, claim.claim, verdict_text(claim.verdict), claim.because)
        table.add_section()
    return table


def claim_rank(claim_id: str) -> tuple[int, str]:
    """C2 before C10; a name without a number last.

    >>> sorted(["C10", "C2", "mine"], key=claim_rank)
    ['C2', 'C10', 'mine']
    """
    digits = re.search(r"\d{1,9}", claim_id)
    return (int(digits.group()) if digits else 10**9, claim_id)


def claim_line(record: CaseRecord) -> str:
    """One claim's verdict and number, short.

    >>> from mfubench.results.answers import ClaimResult
    >>> claim_line(CaseRecord(case_id="claim/C8", question="claim", device="cpu", claim=ClaimResult(
    ...     id="C8", claim="…", test="", rule="", conditions="", figures={}, verdict="holds",
    ...     because="…", value=1.192, low=1.154, high=1.214, unit="× tokens/s")))
    'holds: ×1.192 tokens/s (1.154 to 1.214)'
    """
    claim = known(record.claim)
    if claim.value is None:
        return f"{claim.verdict}: {claim.because}"
    return f"{claim.verdict}: {quantity_in_words(claim)}"


def quantity_in_words(claim: ClaimResult) -> str:
    """What was measured for a claim, with its interval; empty where nothing was."""
    if claim.value is None:
        return ""
    unit = claim.unit or ""
    text = _quantity(claim.value, unit)
    if claim.low is None or claim.high is None:
        return text
    if unit.startswith("×"):
        return f"{text} ({claim.low:.3f} to {claim.high:.3f})"
    return f"{text} ({_quantity(claim.low, unit)} to {_quantity(claim.high, unit)})"


def _quantity(value: float, unit: str) -> str:
    if unit.startswith("×"):
        return f"×{value:.3f}{unit[1:]}"
    if unit == "s":
        return format_duration(value)
    if unit == "MFU":
        return f"MFU {format_share(value)}"
    return format_share(value) if unit.startswith("share") else format_si(value, unit)
