"""The claims as a table: what this machine says to each, and with which number."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from mfubench.show.console import plain_table
from mfubench.show.units import format_duration, format_share, format_si

Info = Mapping[str, Any]


def claims_table(infos: Sequence[Info]) -> Table:
    """Every claim that was asked, in their order."""
    table = plain_table(
        caption="docs/claims.md has the rule of each verdict",
        caption_justify="left",
    )
    table.add_column("", no_wrap=True)
    table.add_column("claim", ratio=4, overflow="fold")
    table.add_column("here", no_wrap=True, min_width=13)
    table.add_column("because", ratio=6, overflow="fold")
    for info in sorted(infos, key=lambda i: claim_rank(i["claim"]["id"])):
        claim = info["claim"]
        table.add_row(claim["id"], claim["claim"], claim["verdict"], claim["because"])
        table.add_section()
    return table


def claim_rank(claim_id: str) -> tuple[int, str]:
    """C2 before C10; a name without a number last.

    >>> sorted(["C10", "C2", "mine"], key=claim_rank)
    ['C2', 'C10', 'mine']
    """
    digits = re.search(r"\d{1,9}", claim_id)
    return (int(digits.group()) if digits else 10**9, claim_id)


def claim_line(info: Info) -> str:
    """One claim's verdict and number, short.

    >>> claim_line({"claim": {"verdict": "holds", "value": 1.192, "low": 1.154, "high": 1.214,
    ...             "unit": "× tokens/s"}})
    'holds: ×1.192 tokens/s (1.154 to 1.214)'
    """
    claim = info["claim"]
    if claim["value"] is None:
        return f"{claim['verdict']}: {claim['because']}"
    text = f"{claim['verdict']}: {_quantity(claim['value'], claim['unit'])}"
    if claim["low"] is None:
        return text
    if claim["unit"].startswith("×"):
        return f"{text} ({claim['low']:.3f} to {claim['high']:.3f})"
    low, high = (_quantity(claim[end], claim["unit"]) for end in ("low", "high"))
    return f"{text} ({low} to {high})"


def _quantity(value: float, unit: str) -> str:
    if unit.startswith("×"):
        return f"×{value:.3f}{unit[1:]}"
    if unit == "s":
        return format_duration(value)
    if unit == "MFU":
        return f"MFU {format_share(value)}"
    return format_share(value) if unit.startswith("share") else format_si(value, unit)
