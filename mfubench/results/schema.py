"""The JSON Schema of a file, and what is wrong with one. Both come from the types."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from mfubench.results.outcomes import SCHEMA_VERSION
from mfubench.results.read import (
    ResultError,
    converted,
    document_in,
    in_words,
    kind_in,
    refuse_version_of,
)
from mfubench.results.record import CaseRecord
from mfubench.results.run import DocumentHeader, Run

MAX_PROBLEMS = 20
FILE = Path("the file")
DRAFT = "https://json-schema.org/draft/2020-12/schema"


def run_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a saved run. Fields that are not listed are allowed."""
    (reference,), defs = msgspec.json.schema_components([Run])
    (case,), more = msgspec.json.schema_components([CaseRecord])
    del more["CaseRecord"]["properties"]["extra"]  # where undeclared fields go, not a field
    defs = {**defs, **more}
    defs["Benchmark"]["properties"]["extra_info"] = case
    defs["RunHeader"]["properties"]["other_outcomes"]["items"] = case
    return {"$schema": DRAFT, **reference, "$defs": defs}


def document_schema(kind: str, body: type) -> dict[str, Any]:
    """The JSON Schema of a document of a kind, whose body is of a type."""
    (header, inner), defs = msgspec.json.schema_components([DocumentHeader, body])
    told = {"kind": {"const": kind}, "schema_version": {"const": SCHEMA_VERSION}}
    return {
        "$schema": DRAFT,
        "type": "object",
        "required": ["mfubench", kind],
        "properties": {"mfubench": {**header, "properties": told}, kind: inner},
        "$defs": defs,
    }


def problems(data: object, bodies: Mapping[str, type] = MappingProxyType({})) -> list[str]:
    """What is wrong with a file's JSON, in sentences; empty when it is valid.

    Of a run each case is looked at, so that one wrong case does not hide another. `bodies` are the
    types of the documents' bodies, by kind; without one a document is not known.
    """
    try:
        file = converted(FILE, data, dict[str, Any])
        kind = kind_in(file)
        if kind is None:
            return _problems_of_a_run(file)
        if kind not in bodies:
            return [f"mfubench/kind: {kind!r} is not one of {', '.join(bodies)}"]
        document_in(FILE, file).read(bodies[kind])
    except ResultError as error:
        return [str(error).removeprefix(f"{FILE} ").removeprefix("is not a valid result: ")]
    return []


def _problems_of_a_run(file: dict[str, Any]) -> list[str]:
    refuse_version_of(FILE, file)
    run = converted(FILE, file, Run)
    if run.header is None:
        return ["mfubench: a run of this suite has this object; other suites' files do not"]
    found = []
    for where, info, _ in run.cases():
        try:
            outcome = CaseRecord.from_data(info).outcome
        except (msgspec.ValidationError, RecursionError) as error:
            found.append(in_words(error, where))
        else:
            is_measured = where.startswith("benchmarks")
            if (outcome == "ok") is not is_measured:
                found.append(f"{where}/outcome: {str(outcome)!r} stands in the wrong list")
    if len(found) > MAX_PROBLEMS:
        del found[MAX_PROBLEMS:]
        found.append(f"and more; only the first {MAX_PROBLEMS} are listed")
    return found
