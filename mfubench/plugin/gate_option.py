"""`pytest benchmarks/ --gate`: this run by the stored runs of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfubench.gate.measure.stored import StoredRuns, read_run, verdicts
from mfubench.gate.rules.limits import LimitsError, gate_table, is_share
from mfubench.gate.rules.policy import IMPROVED, PASS, worst
from mfubench.gate.rules.stored_runs import LEAST_SESSIONS, StoredVerdict
from mfubench.plugin.options import refusal
from mfubench.results.read import ResultError


def marked_limits(item: pytest.Item) -> dict[str, float]:
    """The limits that a test's `mfubench` marker gives its cases; raises UsageError for no share.

    `@pytest.mark.mfubench(tolerance=0.08)` gives `{"tolerance": 0.08}`.
    """
    marker = item.get_closest_marker("mfubench")
    found = {
        name: marker.kwargs[name] for name in ("floor", "tolerance") if name in marker.kwargs
    } if marker else {}  # fmt: skip
    for name, value in found.items():
        if not is_share(value):
            raise refusal(
                f"{item.nodeid} is marked with {name}={value!r}; it must be a share, for instance "
                "0.05"
            )
    return found


class GateOption:
    """Refuses before the first timing what cannot be judged after the last."""

    def __init__(self, machine_dir: Path, rootpath: Path) -> None:
        self._stored = StoredRuns(machine_dir)
        if not self._stored.runs:
            raise refusal(
                "--gate: there is no saved run of this machine to judge by. Run once without it: "
                "that run is saved and becomes the baseline; or compare two revisions with "
                "mfubench gate."
            )
        try:
            self._settings = gate_table(rootpath / "pyproject.toml")
        except LimitsError as error:
            raise refusal(f"--gate: {error}") from None
        self._baseline = self._stored.runs[-1]
        self.verdicts: list[StoredVerdict] = []

    def notes(self) -> list[str]:
        """What to say before timing starts."""
        sessions = len(self._stored.runs)
        anchor = self._stored.anchor.path.name if self._stored.anchor else "that cannot be read"
        baseline = f"{self._baseline.path.name}, or the newest run with a case of this one,"
        found = [f"--gate: by {baseline} and the anchor {anchor}"]
        if sessions < LEAST_SESSIONS:
            found.append(
                f"--gate: {sessions} stored sessions are too few to know what sessions of this "
                f"machine differ by ({LEAST_SESSIONS} are needed): nothing will pass"
            )
        return [*found, *(f"--gate: left out: {broken}" for broken in self._stored.broken)]

    def judge(self, saved: Path) -> bool:
        """Judge the saved run; whether all of it is green."""
        try:
            run = read_run(saved)
        except ResultError:
            return False
        # The newest stored run may be of a script alone.
        baseline = self._stored.newest_with(run.rounds) or self._baseline
        self.verdicts = verdicts(run, baseline, self._stored, settings=self._settings)
        return worst([one.verdict for one in self.verdicts]) in (PASS, IMPROVED)
