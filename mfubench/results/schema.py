"""The schemas of a result file and of a document beside it, and the validator for it."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator

from mfubench.results.record import SCHEMA_VERSION

MAX_PROBLEMS = 20


def schema(name: str = "result") -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a result file of this version, or of a "document"."""
    text = resources.files("mfubench.results").joinpath(f"{name}.schema.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def problems(data: object) -> list[str]:
    """What is wrong with a result or a document, in sentences; empty when it is valid.

    Says so first when the file is of another schema version, and nothing else then.
    """
    name = "result"
    if isinstance(data, dict) and isinstance(data.get("mfubench"), dict):
        name = "document" if "kind" in data["mfubench"] else "result"
        version = data["mfubench"].get("schema_version")
        if version != SCHEMA_VERSION:
            return [f"schema version {version!r}; this mfubench reads version {SCHEMA_VERSION}"]
    found = []
    for error in Draft202012Validator(schema(name)).iter_errors(data):
        where = "/".join(str(part) for part in error.absolute_path) or "the file"
        found.append(f"{where}: {error.message[:300]}")
        if len(found) == MAX_PROBLEMS:
            found.append(f"and more; only the first {MAX_PROBLEMS} are listed")
            break
    return found
