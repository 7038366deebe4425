"""Documents beside the runs: the stored ones are valid, and each kind can be invalid."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mfubench.results.schema import problems

ROOT = Path(__file__).parents[3]
KINDS = ("advice", "gate", "self-test")


def stored() -> list[Path]:
    """The project's reference results; what a user measured beside them is not ours to judge."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository, so references and a user's own results look alike")
    command = ["git", "ls-files", "results/*.json"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / line for line in listed.splitlines()]


def newest(kind: str) -> dict[str, Any]:
    path = max(path for path in stored() if path.parent.name == kind)
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def test_stored_runs_and_documents_are_valid() -> None:
    paths = [path for path in stored() if path.name != "ceilings.json"]
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
    (problem,) = problems(data)
    assert problem.startswith("gate/cases/0/verdict: 'green' is not one of ['pass', ")
