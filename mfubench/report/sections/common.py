"""What several sections ask of a collection."""

from __future__ import annotations

from collections.abc import Iterable

from mfubench.results.collection import Case, Collection
from mfubench.results.record import CaseRecord, Outcome
from mfubench.show.answer import distance_from_base


def ok_cases(collection: Collection, *questions: str) -> list[Case]:
    """Measured cases of these questions."""
    return [
        case
        for case in collection.cases
        if case.record.outcome == Outcome.OK and case.record.question in questions
    ]


def device_name(collection: Collection, case: Case) -> str:
    """What a device calls itself, or its kind."""
    described = collection.headers[case.run.path].devices.get(case.record.device, {})
    return str(described.get("name") or case.record.device)


def place(collection: Collection, case: Case) -> str:
    """The machine where there are several, so that nothing is said twice on a page about one."""
    return f"{case.run.machine}: " if len(collection.machines) > 1 else ""


def setting(record: CaseRecord) -> str:
    """A case without its question.

    >>> setting(CaseRecord(case_id="train-step/nanogpt-cpu/cpu-float32-b12-eager",
    ...                    question="train-step", device="cpu"))
    'nanogpt-cpu/cpu-float32-b12-eager'
    """
    return record.case_id.partition("/")[2]


def base_case(cases: Iterable[Case]) -> Case:
    """The case closest to what nanoGPT's user ran: the step, eager, the smallest batch."""
    return min(cases, key=lambda case: distance_from_base(case.record))
