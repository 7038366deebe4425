"""The claims, each with its verdict on this machine."""

from __future__ import annotations

from collections import Counter

from mfubench.claims.show.text import claim_rank
from mfubench.results.answers import ClaimResult
from mfubench.results.collection import Collection
from mfubench.show.blocks import Cell, Prose, Section, Table
from mfubench.show.units import UNKNOWN, format_share


def claims_section(collection: Collection) -> Section | None:
    """One row per claim and machine, in the order of their numbers."""
    found = [
        (collection.place(case).rstrip(": "), c)
        for case in collection.cases
        if (c := case.record.claim)
    ]
    if not found:
        return None
    found.sort(key=lambda pair: claim_rank(pair[1].id))
    rows = [
        [
            Cell(text=f"{claim.id}: {claim.claim}", note=machine),
            Cell(text=claim.verdict),
            _value(claim),
            Cell(text=claim.because),
        ]
        for machine, claim in found
    ]
    counts = Counter(claim.verdict for _, claim in found)
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return Section(
        key="claims",
        title="What forums say",
        blocks=[
            Prose(text=f"Claims about training on such machines, tested here: {said}."),
            Table(
                name="Claims",
                columns=("claim", "verdict", "#measured", "because"),
                rows=rows,
                is_cards=True,
            ),
        ],
    )


def _value(claim: ClaimResult) -> Cell:
    if claim.value is None:
        return Cell(text=UNKNOWN)

    def shown(x: float) -> str:
        return format_share(x) if claim.unit == "share" else f"{x:.4g} {claim.unit or ''}".rstrip()

    interval = ""
    if claim.low is not None and claim.high is not None:
        interval = f"{shown(claim.low)} to {shown(claim.high)}"
    return Cell(text=shown(claim.value), value=claim.value, note=interval)
