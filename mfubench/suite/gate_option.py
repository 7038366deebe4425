"""`pytest benchmarks/ --gate`: this run by the stored runs of this machine."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from mfubench.analysis.gate_policy import IMPROVED, PASS, worst
from mfubench.analysis.gate_stored import LEAST_SESSIONS, StoredVerdict
from mfubench.analysis.results import ResultError, read_result
from mfubench.suite.gate_stored import StoredRuns, verdicts


class GateOption:
    """Refuses before the first timing what cannot be judged after the last."""

    def __init__(self, machine_dir: Path, rootpath: Path) -> None:
        self._runs = StoredRuns(machine_dir)
        if not self._runs.results:
            raise pytest.UsageError(
                "--gate: there is no saved run of this machine to judge by. Run once without it: "
                "that run is saved and becomes the baseline; or compare two revisions with "
                "mfubench gate."
            )
        self._settings = gate_table(rootpath / "pyproject.toml")
        self._baseline = self._runs.results[-1]
        self.verdicts: list[StoredVerdict] = []

    def notes(self) -> list[str]:
        """What to say before timing starts."""
        sessions = len(self._runs.results)
        anchor = self._runs.anchor.path.name if self._runs.anchor else "that cannot be read"
        found = [f"--gate: by {self._baseline.path.name} and the anchor {anchor}"]
        if sessions < LEAST_SESSIONS:
            found.append(
                f"--gate: {sessions} stored sessions are too few to know what sessions of this "
                f"machine differ by ({LEAST_SESSIONS} are needed): nothing will pass"
            )
        return [*found, *(f"--gate: left out: {broken}" for broken in self._runs.broken)]

    def judge(self, saved: Path) -> bool:
        """Judge the saved run; whether all of it is green."""
        try:
            run = read_result(saved)
        except ResultError:
            return False
        self.verdicts = verdicts(run, self._baseline, self._runs, settings=self._settings)
        return worst([one.verdict for one in self.verdicts]) in (PASS, IMPROVED)


def gate_table(path: Path) -> dict[str, Any]:
    """The table `tool.mfubench.gate` of a pyproject.toml; empty where there is none."""
    if not path.exists():
        return {}
    table: dict[str, Any] = (
        tomllib.loads(path.read_text(encoding="utf-8"))
        .get("tool", {})
        .get("mfubench", {})
        .get("gate", {})
    )
    return table
