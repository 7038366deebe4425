"""The claims' table has a row for each claim, in their order, within 100 columns."""

from __future__ import annotations

from typing import Any

import pytest

from mfubench.report.case_line import case_line
from mfubench.report.table import render
from mfubench.results.answers import ClaimResult
from mfubench.results.outcomes import Outcome
from mfubench.results.record import CaseRecord


def record(claim_id: str, outcome: Outcome = Outcome.OK, **claim: Any) -> CaseRecord:
    said: dict[str, Any] = {
        "test": "a test",
        "rule": "a rule",
        "conditions": "here",
        "figures": {},
        "id": claim_id,
        "claim": f"The claim number {claim_id}, in enough words to be folded into several lines.",
        "verdict": "holds",
        "because": "of a number that stands in a sentence as long as these sentences may become",
        "value": 1.192,
        "unit": "× tokens/s",
        "low": 1.154,
        "high": 1.214,
        **claim,
    }
    return CaseRecord(
        case_id=f"claim/{claim_id}",
        question="claim",
        device="cpu",
        outcome=outcome,
        outcome_reason=None if outcome is Outcome.OK else said["because"],
        claim=ClaimResult(**said),
    )


UNTESTABLE = {"verdict": "untestable here", "value": None, "unit": None, "low": None, "high": None}


def test_every_claim_stands_in_the_table_once_whatever_its_outcome() -> None:
    records = [
        record("C10", Outcome.UNSUPPORTED, because="one kind of core", **UNTESTABLE),
        record("C2"),
        record("C1", verdict="does not hold"),
        record("C3", Outcome.ERROR, because="ValueError: planted", **UNTESTABLE),
    ]
    text = render(records)
    starts = [line.split()[0] for line in text.splitlines() if line.startswith("C")]
    assert starts == ["C1", "C2", "C3", "C10"]
    assert "not measured" not in text
    assert "one kind of core" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_table_without_claims_has_no_part_for_them() -> None:
    assert "claim" not in render([])


@pytest.mark.parametrize(
    ("claim", "line"),
    [
        ({}, "holds: ×1.192 tokens/s (1.154 to 1.214)"),
        (
            {"value": 0.0003, "unit": "share of 312 TFLOP/s", "low": None, "high": None},
            "holds: 0.0300 %",
        ),
        (
            {"value": 0.3, "unit": "share of the iteration", "low": 0.28, "high": 0.3},
            "holds: 30.0 % (28.0 % to 30.0 %)",
        ),
        ({"value": 2e11, "unit": "FLOP/s", "low": None, "high": None}, "holds: 200 GFLOP/s"),
        ({"value": 0.1, "unit": "MFU", "low": None, "high": None}, "holds: MFU 10.0 %"),
        ({"value": 91.2, "unit": "s", "low": 88.0, "high": 91.2}, "1 min 31 s"),
        ({**UNTESTABLE, "because": "no GPU"}, "untestable here: no GPU"),
    ],
)
def test_a_claim_in_one_line(claim: dict[str, Any], line: str) -> None:
    assert line in case_line(record("C1", **claim))


def test_a_claim_that_failed_is_told_with_its_outcome() -> None:
    failed = record("C1", Outcome.ERROR, because="ValueError: planted", **UNTESTABLE)
    assert case_line(failed) == "claim/C1  error: ValueError: planted"
