"""The claims, each with its verdict on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mfubench.claims.show.text import claim_rank
from mfubench.results.collection import Case, Collection, mapping, number
from mfubench.show.blocks import Cell, Prose, Section, Table
from mfubench.show.units import UNKNOWN, format_share


def claims_section(collection: Collection) -> Section | None:
    """One row per claim and machine, in the order of their numbers."""
    found = [(case, claim) for case in collection.cases if (claim := _claim(case))]
    if not found:
        return None
    found.sort(key=lambda pair: claim_rank(str(pair[1].get("id"))))
    rows = [
        [
            Cell(text=f"{claim.get('id')}: {claim.get('claim') or ''}", note=case.run.machine),
            Cell(text=str(claim.get("verdict") or UNKNOWN)),
            _value(claim),
            Cell(text=str(claim.get("because") or UNKNOWN)),
        ]
        for case, claim in found
    ]
    columns = ("claim", "verdict", "#measured", "because")
    counts: dict[str, int] = {}
    for _, claim in found:
        counts[str(claim.get("verdict"))] = counts.get(str(claim.get("verdict")), 0) + 1
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return Section(
        key="claims",
        title="What forums say",
        blocks=[
            Prose(text=f"Claims about training on such machines, tested here: {said}."),
            Table(name="Claims", columns=columns, rows=rows),
        ],
    )


def _claim(case: Case) -> Mapping[str, Any]:
    return mapping(case.info.get("claim"))


def _value(claim: Mapping[str, Any]) -> Cell:
    value, low, high = (number(claim.get(k)) for k in ("value", "low", "high"))
    if value is None:
        return Cell(text=UNKNOWN)
    unit = str(claim.get("unit") or "")

    def shown(x: float) -> str:
        return format_share(x) if unit == "share" else f"{x:.4g} {unit}".rstrip()

    interval = f"{shown(low)} to {shown(high)}" if low is not None and high is not None else ""
    return Cell(text=shown(value), value=value, note=interval)
