"""Documents beside the runs: the stored ones are valid, and each kind can be invalid."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mfubench.analysis.schema import problems

RESULTS = Path(__file__).parents[3] / "results"
KINDS = ("advice", "gate", "self-test")


def newest(kind: str) -> dict[str, Any]:
    path = max(RESULTS.glob(f"*/{kind}/*.json"))
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def test_stored_runs_and_documents_are_valid() -> None:
    paths = [path for path in RESULTS.glob("*/*/*.json") if not path.name.startswith(".")]
    assert {path.parent.name for path in paths} >= set(KINDS)
    for path in paths:
        assert problems(json.loads(path.read_text(encoding="utf-8"))) == [], path


def without_a_body(data: dict[str, Any], kind: str) -> None:
    del data[kind]


def with_another_kind(data: dict[str, Any], kind: str) -> None:
    data["mfubench"]["kind"] = "diary"


def with_text_for_pairs(data: dict[str, Any], kind: str) -> None:
    data[kind]["tries" if kind == "advice" else "measured"] = "many"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spoil", [without_a_body, with_another_kind, with_text_for_pairs])
def test_a_spoilt_document_is_invalid(
    kind: str, spoil: Callable[[dict[str, Any], str], None]
) -> None:
    data = newest(kind)
    spoil(data, kind)
    assert problems(data)


def test_a_verdict_that_the_gate_does_not_give_is_invalid() -> None:
    data = newest("gate")
    data["gate"]["cases"][0]["verdict"] = "green"
    assert problems(data) == [
        "gate/cases/0/verdict: 'green' is not one of ['pass', 'improved', 'regressed', "
        "'inconclusive']"
    ]
