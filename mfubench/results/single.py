"""A run of one case as a result file, of the same form as the suite's own."""

from __future__ import annotations

import datetime
import functools
import time
from pathlib import Path
from typing import Any

import pytest_benchmark
from pytest_benchmark.stats import Stats
from pytest_benchmark.utils import get_commit_info, get_current_time, get_machine_id

from mfubench.results.document import header, machine_dir, machine_info, written
from mfubench.results.outcomes import Outcome
from mfubench.results.record import CaseRecord
from mfubench.results.write import json_text


@functools.cache
def commit_of_start() -> dict[str, Any]:
    """The revision of the folder that the script is started in. Asked for once, before it starts:
    git runs in a process of its own, and the script may change the folder."""
    commit: dict[str, Any] = get_commit_info()
    return commit


def result_data(
    record: CaseRecord,
    rounds_s: list[float],
    *,
    started_at_s: float,
    device: dict[str, Any],
    complete: bool,
    test: str = "test_script",
) -> dict[str, Any]:
    """The result file of a run, as JSON types; `test` is the benchmark that measures the same."""
    return {
        "machine_info": machine_info(),
        "commit_info": commit_of_start(),
        "benchmarks": _benchmarks(record, rounds_s, test),
        "datetime": datetime.datetime.now(datetime.UTC).isoformat(),
        "version": pytest_benchmark.__version__,
        "mfubench": {
            **header(),
            "sweep": {
                "name": record.question,
                "presets": [record.preset],
                "devices": [record.device],
                "corpus": None,
                "threads": record.threads,
            },
            "devices": {record.device: device},
            "started_at_s": started_at_s,
            "finished_at_s": time.time(),
            "complete": complete,
            "other_outcomes": [] if record.outcome is Outcome.OK else [record.as_extra_info()],
        },
    }


def save_result(data: dict[str, Any], results_dir: Path) -> str:
    """Write the file and say where it is. A folder that cannot be written costs nothing: the file
    goes to the system's temporary one."""
    return save_text(json_text(data), results_dir)


def save_text(text: str, results_dir: Path) -> str:
    """The same for a file's text."""
    revision = str(commit_of_start().get("id") or "unversioned")[:12]
    name = f"{revision}_{get_current_time()}.json"
    return written(machine_dir(results_dir) / get_machine_id(), name, text)


def _benchmarks(record: CaseRecord, rounds_s: list[float], test: str) -> list[dict[str, Any]]:
    """One entry as pytest-benchmark writes it; none for a run that gave no number."""
    if record.outcome is not Outcome.OK:
        return []
    stats = Stats()
    for seconds in rounds_s:
        stats.update(seconds)
    _, _, name = record.case_id.partition("/")
    return [
        {
            "group": record.question,
            "name": f"{test}[{name}]",
            "fullname": f"benchmarks/{test}.py::{test}[{name}]",
            "params": None,
            "param": None,
            "extra_info": record.as_extra_info(),
            "options": {"warmup": False},
            "stats": {**stats.as_dict(), "iterations": 1, "data": list(rounds_s)},
        }
    ]
