"""How wide an interval is: what the newest self-tests of the machine found, or what ours did."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mfubench.predict.document import Grade, PredictionTest
from mfubench.predict.predict import HALF_WIDTHS
from mfubench.predict.self_test import TEST, half_width_of
from mfubench.results.folder import saved_documents
from mfubench.results.read import ResultError, read_document

FEWEST = 20
"""Settings that a self-test must have run, for its errors to make intervals."""
NEWEST = 3
"""So many self-tests count."""


def half_widths_of(folder: Path, device: str) -> Mapping[Grade, float]:
    """Half-widths of the 80 % interval by grade, as natural logarithms, for a machine's folder.

    The widest of the newest self-tests counts: one alone has met the machine at one speed.
    """
    found: list[float] = []
    for path in saved_documents(folder, TEST):
        try:
            test = read_document(path).read(PredictionTest)
        except ResultError:
            continue
        is_enough = test.device == device and len(test.measured) >= FEWEST
        if is_enough and (half := half_width_of(test.errors)):
            found.append(half)
        if len(found) == NEWEST:
            break
    return {**HALF_WIDTHS, "anchored": max(found)} if found else HALF_WIDTHS
