"""Documents beside the runs: what a command found, in the machine's folder, with its provenance."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from pytest_benchmark.utils import get_commit_info

from mfubench import __version__
from mfubench.hardware import provenance
from mfubench.hardware.fingerprint import fingerprint
from mfubench.results.outcomes import SCHEMA_VERSION
from mfubench.results.write import json_text, write_elsewhere, write_numbered, write_problem


def machine_dir(results_dir: Path) -> Path:
    """This machine's folder of results."""
    return results_dir / fingerprint().id


def refusal_to_write(folder: Path) -> str | None:
    """Why nothing can be saved in a folder, found out before anything is measured."""
    problem = write_problem(folder)
    return problem and f"{folder} cannot be written: {problem}; choose --results-dir DIR"


def header() -> dict[str, Any]:
    """What every file says of itself: versions, machine, software, settings."""
    machine = fingerprint()
    return {
        "schema_version": SCHEMA_VERSION,
        "mfubench_version": __version__,
        "fingerprint": {"id": machine.id, "parts": dict(machine.parts)},
        "software": provenance.software(),
        "settings": provenance.settings(),
    }


def machine_info() -> dict[str, Any]:
    """The stable facts that pytest-benchmark compares between runs, and nothing that drifts.

    Its own version carries the host name, the kernel and the momentary clock, and warns at every
    container start; kernel and clock are in the provenance of the run instead.
    """
    machine = fingerprint()
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": platform.processor(),
        "python_implementation": platform.python_implementation(),
        "python_version": platform.python_version(),
        "cpu": {"brand_raw": machine.parts.get("cpu_model_name")},
        "fingerprint": machine.id,
    }


def document(kind: str, body: Struct) -> dict[str, Any]:
    """A document of a kind in JSON types, with where it comes from."""
    commit = get_commit_info()
    return {
        "mfubench": {
            "kind": kind,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "commit": {"id": commit.get("id"), "dirty": commit.get("dirty")},
            **header(),
        },
        kind: msgspec.to_builtins(body),
    }


def body_text(body: Struct, *, without: str = "") -> str:
    """A document's body as JSON, for `--json`; `without` is a field that is too long for it."""
    data = msgspec.to_builtins(body)
    data.pop(without, None)
    return json_text(data)


def save(kind: str, body: Struct, results_dir: Path) -> str:
    """Write a document whole, under the next free number, and say where it is."""
    data = document(kind, body)
    folder = machine_dir(results_dir) / kind
    commit = str(data["mfubench"]["commit"]["id"] or "unversioned")[:12]
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d_%H%M%S")
    name, text = f"{commit}_{stamp}.json", json_text(data) + os.linesep
    return written(folder, name, text)


def written(folder: Path, name: str, text: str) -> str:
    """Write a numbered file, and say where; where the folder cannot take it, it goes to the
    system's temporary one."""
    try:
        return f"saved in {write_numbered(folder, name, text)}"
    except OSError as error:
        why = f"it could not be saved in {folder} ({error.strerror or error})"
        try:
            rescued = write_elsewhere(f"0001_{name}", text)
        except OSError as problem:
            print(text, file=sys.stderr)  # the last place that takes it
            return f"{why}, nor elsewhere ({problem.strerror or problem}): it is on standard error"
        return f"{why} and is in {rescued}: copy it there when there is room"
