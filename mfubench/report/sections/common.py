"""What several sections ask of a collection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mfubench.results.collection import Case, Collection, mapping
from mfubench.show.answer import distance_from_base

Info = dict[str, Any]


def ok_cases(collection: Collection, *questions: str) -> list[Case]:
    """Measured cases of these questions."""
    return [
        case
        for case in collection.cases
        if case.info["outcome"] == "ok" and case.info["question"] in questions
    ]


def device_name(collection: Collection, case: Case) -> str:
    """What a device calls itself, or its kind."""
    ours = mapping(collection.provenance.get(case.run.path))
    described = mapping(mapping(ours.get("devices")).get(case.info["device"]))
    return str(described.get("name") or case.info["device"])


def place(collection: Collection, case: Case) -> str:
    """The machine where there are several, so that nothing is said twice on a page about one."""
    return f"{case.run.machine}: " if len(collection.machines) > 1 else ""


def setting(info: Info) -> str:
    """A case without its question.

    >>> setting({"case_id": "train-step/nanogpt-cpu/cpu-float32-b12-eager"})
    'nanogpt-cpu/cpu-float32-b12-eager'
    """
    return str(info["case_id"]).partition("/")[2]


def base_case(cases: Iterable[Case]) -> Case:
    """The case closest to what nanoGPT's user ran: the step, eager, the smallest batch."""
    return min(cases, key=lambda case: distance_from_base(case.info))
