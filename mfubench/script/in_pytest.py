"""A script as a case of a run: it runs as `mfubench run` does, in a process of its own."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from mfubench.results.folder import result_paths
from mfubench.results.outcomes import Outcome
from mfubench.results.read import read_result
from mfubench.results.record import CaseRecord
from mfubench.suite.outcomes import CaseResult


def run_script(typed: str, results_dir: Path) -> CaseResult:
    """The record and the rounds of a script that is given as one would type it; ceilings come from
    `results_dir`, where nothing is written."""
    words = shlex.split(typed)
    with tempfile.TemporaryDirectory(prefix="mfubench-script-") as folder:
        status = _run(words, Path(folder), results_dir)
        for path in result_paths([folder]):
            ((record, stats),) = read_result(path).records
            rounds_s = (stats.data if stats else record.rounds_s) or []
            return CaseResult(record, rounds_s=list(rounds_s))
    name = Path(words[0]).name if words else "nothing"
    record = CaseRecord(case_id=f"script/{name}", question="script", device="cpu", preset=name)
    record.outcome = Outcome.ERROR
    record.outcome_reason = f"{typed!r} left no record (exit status {status})"
    return CaseResult(record)


def _run(words: list[str], folder: Path, results_dir: Path) -> int:
    """The script's own output goes where pytest's goes."""
    ceilings = next(results_dir.glob("*/ceilings.json"), None)
    if ceilings is not None:
        copy = folder / ceilings.parent.name / ceilings.name
        copy.parent.mkdir(parents=True)
        copy.write_bytes(ceilings.read_bytes())
    command = [sys.executable, "-m", "mfubench", "run", "--results-dir", str(folder), *words]
    return subprocess.run(command, check=False).returncode
