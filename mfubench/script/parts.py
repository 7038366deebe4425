"""A part of a record that may fail without taking the rest with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mfubench.results.record import CaseRecord


@contextlib.contextmanager
def part(record: CaseRecord, name: str) -> Iterator[None]:
    """Whatever goes wrong inside, this part is lost and the record says so: the script is not ours,
    nor is what its model, its libraries and its device do when they are asked.

    >>> record = CaseRecord(case_id="script/x/cpu", question="script", device="cpu")
    >>> with part(record, "the breakdown"):
    ...     _ = 1 / 0
    >>> record.parts_lost
    ['the breakdown: ZeroDivisionError: division by zero']
    """
    try:
        yield
    except Exception as error:
        first = str(error).strip().partition("\n")[0][:200]
        said = f"{name}: {type(error).__name__}" + (f": {first}" if first else "")
        record.parts_lost = [*(record.parts_lost or ()), said]
