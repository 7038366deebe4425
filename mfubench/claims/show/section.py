"""The claims, each with its verdict on this machine."""

from __future__ import annotations

from collections import Counter

from mfubench.claims.show.text import claim_rank, quantity_in_words
from mfubench.results.answers import ClaimResult
from mfubench.results.collection import Collection
from mfubench.show.blocks import Cell, Fold, Prose, Section, Table, Verdict, Verdicts
from mfubench.show.figures import Look
from mfubench.show.units import UNKNOWN


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
    several = len({machine for machine, _ in found}) > 1
    lines = [_verdict(claim, machine if several else "") for machine, claim in found]
    rows = [
        [
            Cell(text=claim.id, note=machine),
            Cell(text=claim.verdict),
            Cell(text=quantity_in_words(claim) or UNKNOWN),
            Cell(text=claim.because),
        ]
        for machine, claim in found
    ]
    counts = Counter(str(claim.verdict) for _, claim in found)
    named = {told: counts[verdict] for verdict, told in TOLD.items() if counts[verdict]}
    said = ", ".join(f"{count} {told}" for told, count in named.items())
    machine = found[0][0]
    where = "here" if several or not machine else f"on {machine}"
    table = Table(
        name="Claims",
        columns=("claim", "verdict", "measured", "because"),
        rows=rows,
        is_cards=True,
    )
    return Section(
        key="claims",
        title="What forums say",
        blocks=[
            Prose(text=f"Common claims about training, tested {where}: {said}."),
            Verdicts(lines=lines),
            Fold(summary="Why, with the numbers", blocks=[table]),
        ],
    )


TOLD = {
    "holds": "true here",
    "does not hold": "not true here",
    "untestable here": "that cannot be tested here",
}
LOOKS: dict[str, Look] = {"holds": "true", "does not hold": "false"}


def _verdict(claim: ClaimResult, machine: str) -> Verdict:
    where = f" ({machine})" if machine else ""
    told = TOLD.get(claim.verdict, str(claim.verdict)).removeprefix("that ")
    text = f"{claim.id}: {claim.claim}{where} {told[0].upper()}{told[1:]}."
    return Verdict(text=text, look=LOOKS.get(claim.verdict, "unclear"))
