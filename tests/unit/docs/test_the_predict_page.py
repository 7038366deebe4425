"""The errors on the page are those of the stored self-tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfubench.predict.document import FrozenPredictions, PredictionTest
from mfubench.predict.rivals import compared, fastest_found
from mfubench.predict.self_test import PREDICTION, TEST
from mfubench.predict.text import errors_markdown
from mfubench.results.read import read_document
from tests.unit.docs.pages import ROOT, page

STORED = sorted((ROOT / "results").glob(f"*/{TEST}/[0-9]*.json"))


def read(path: Path) -> PredictionTest:
    return read_document(path).read(PredictionTest)


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.name)
def test_the_page_has_the_errors_of_a_complete_self_test(path: Path) -> None:
    test = read(path)
    rows = errors_markdown(test).splitlines() if test.ended == "complete" else []
    assert [row for row in rows if row not in page("docs/predict.md").splitlines()] == []


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.name)
def test_the_errors_follow_from_the_two_stored_documents(path: Path) -> None:
    test = read(path)
    before = path.parents[1] / PREDICTION / test.frozen
    frozen = read_document(before).read(FrozenPredictions)
    errors, by_factor, memory = compared(frozen.predictions, test.measured)
    assert (errors, by_factor, memory) == (test.errors, test.by_factor, test.memory)
    found = fastest_found(frozen.predictions, test.measured)
    assert found == (test.questions, test.answered)


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.name)
def test_what_was_predicted_was_saved_before_anything_was_measured(path: Path) -> None:
    test = read(path)
    frozen = read_document(path.parents[1] / PREDICTION / test.frozen).read(FrozenPredictions)
    assert all(held.at_s > frozen.frozen_at_s for held in test.measured)
