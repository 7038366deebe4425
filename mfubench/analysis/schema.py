"""The schema of a result file, and the validator for it."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator

from mfubench.record import SCHEMA_VERSION

MAX_PROBLEMS = 20


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a result file of this version."""
    text = resources.files("mfubench.analysis").joinpath("result.schema.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def problems(data: object) -> list[str]:
    """What is wrong with a result, in sentences; empty when it is valid.

    Says so first when the file is of another schema version, and nothing else then.
    """
    if isinstance(data, dict) and isinstance(data.get("mfubench"), dict):
        version = data["mfubench"].get("schema_version")
        if version != SCHEMA_VERSION:
            return [f"schema version {version!r}; this mfubench reads version {SCHEMA_VERSION}"]
    found = []
    for error in Draft202012Validator(schema()).iter_errors(data):
        where = "/".join(str(part) for part in error.absolute_path) or "the file"
        found.append(f"{where}: {error.message[:300]}")
        if len(found) == MAX_PROBLEMS:
            found.append(f"and more; only the first {MAX_PROBLEMS} are listed")
            break
    return found
