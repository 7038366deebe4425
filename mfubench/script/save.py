"""A run of a script as a result file, of the same form as the suite's own."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Any

from mfubench import __version__
from mfubench.hardware import provenance
from mfubench.hardware.fingerprint import fingerprint
from mfubench.results.record import SCHEMA_VERSION, CaseRecord, Outcome
from mfubench.results.write import ResultStorage
from mfubench.suite.result import machine_info


def save_run(
    record: CaseRecord,
    rounds_s: list[float],
    *,
    results_dir: Path,
    started_at_s: float,
    device: dict[str, Any],
    complete: bool,
) -> str:
    """Write the file and say where it is. A folder that cannot be written costs nothing: the file
    goes to the system's temporary one."""
    from pytest_benchmark.logger import Logger
    from pytest_benchmark.utils import get_commit_info, get_current_time, get_machine_id

    machine = fingerprint()
    commit = get_commit_info()
    data = {
        "machine_info": machine_info(machine),
        "commit_info": commit,
        "benchmarks": _benchmarks(record, rounds_s),
        "datetime": datetime.datetime.now(datetime.UTC).isoformat(),
        "version": _version_of_pytest_benchmark(),
        "mfubench": {
            "schema_version": SCHEMA_VERSION,
            "mfubench_version": __version__,
            "fingerprint": {"id": machine.id, "parts": dict(machine.parts)},
            "sweep": {
                "name": record.question,
                "presets": [record.preset],
                "devices": [record.device],
                "corpus": None,
                "threads": record.threads,
            },
            "devices": {record.device: device},
            "software": provenance.software(),
            "settings": provenance.settings(),
            "started_at_s": started_at_s,
            "finished_at_s": time.time(),
            "complete": complete,
            "other_outcomes": [] if record.outcome is Outcome.OK else [record.as_extra_info()],
        },
    }
    storage = ResultStorage(
        results_dir / machine.id, _Quiet(Logger(level=Logger.QUIET)), get_machine_id()
    )
    storage.save(data, f"{str(commit.get('id') or 'unversioned')[:12]}_{get_current_time()}")
    return storage.trouble or f"saved in {_short(storage.saved)}"


def _benchmarks(record: CaseRecord, rounds_s: list[float]) -> list[dict[str, Any]]:
    """One entry as pytest-benchmark writes it; none for a run that gave no number."""
    if record.outcome is not Outcome.OK:
        return []
    from pytest_benchmark.stats import Stats

    stats = Stats()
    for seconds in rounds_s:
        stats.update(seconds)
    _, _, name = record.case_id.partition("/")
    return [
        {
            "group": record.question,
            "name": f"test_script[{name}]",
            "fullname": f"benchmarks/test_script.py::test_script[{name}]",
            "params": None,
            "param": None,
            "extra_info": record.as_extra_info(),
            "options": {"warmup": False},
            "stats": {**stats.as_dict(), "iterations": 1, "data": list(rounds_s)},
        }
    ]


class _Quiet:
    """pytest-benchmark's storage tells its logger where it saved; we say it ourselves."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def info(self, *_: object, **__: object) -> None:
        """Nothing."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._logger, name)


def _version_of_pytest_benchmark() -> str:
    import pytest_benchmark

    return str(pytest_benchmark.__version__)


def _short(path: Path | None) -> str:
    try:
        return str(path.relative_to(Path.cwd())) if path else "nowhere"
    except ValueError:
        return str(path)
