"""Stored runs as a gate reads them: a baseline, a pinned anchor, and the history of a machine."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from mfubench.gate.rules.stored_runs import StoredVerdict, judge_run
from mfubench.results.folder import ANCHOR, saved_runs
from mfubench.results.outcomes import STEPS, Outcome
from mfubench.results.read import ResultError, read_result


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """What a gate keeps of a run: a folder of a thousand must fit into memory."""

    path: Path
    machine: str | None
    """The fingerprint of the machine that it was made on."""
    rounds: dict[str, list[float]]
    """Of each training case by its id, in seconds."""
    not_measured: dict[str, str]
    """The outcomes of the cases that gave none, by their ids."""
    limits: dict[str, dict[str, float]] = field(default_factory=dict)
    """What the markers of its tests allow, by the ids of their cases."""


class StoredRuns:
    """The runs of a machine's folder, oldest first; files that cannot be read are named."""

    def __init__(self, folder: Path, *, without: Path | None = None) -> None:
        self.runs: list[StoredRun] = []
        self.broken: list[str] = []
        self.anchor: StoredRun | None = None
        for path in saved_runs(folder):
            if without is not None and path.resolve() == without.resolve():
                continue
            run = self._read(path)
            if run is not None and run.rounds:
                self.runs.append(run)
        pinned = folder / ANCHOR
        if pinned.exists():
            self.anchor = self._read(pinned)
        elif self.runs:
            self.anchor = self.runs[0]

    def newest_with(self, cases: Collection[str]) -> StoredRun | None:
        """The newest run that has one of these cases: a run of one script stands between the runs
        of the suite and of other scripts."""
        having = (run for run in reversed(self.runs) if not run.rounds.keys().isdisjoint(cases))
        return next(having, None)

    def anchor_rounds(self, *, without: StoredRun) -> dict[str, list[float]]:
        """Rounds of each case by the anchor: where it lacks the case, by the oldest run with it."""
        found: dict[str, list[float]] = {}
        anchors = [] if self.anchor is None else [self.anchor]
        for run in (*anchors, *self.runs):
            if run.path != without.path:
                found = {**run.rounds, **found}
        return found

    def _read(self, path: Path) -> StoredRun | None:
        try:
            return read_run(path)
        except ResultError as error:
            self.broken.append(str(error))
            return None


def read_run(path: Path) -> StoredRun:
    """A stored run; raises ResultError when the file is none."""
    result = read_result(path)
    records = [record for record, _ in result.records]
    return StoredRun(
        path=path,
        machine=result.run.machine,
        rounds={
            record.case_id: stats.data
            for record, stats in result.records
            if record.question in STEPS and stats is not None and stats.data
        },
        not_measured={r.case_id: r.outcome for r in records if r.outcome is not Outcome.OK},
        limits={r.case_id: msgspec.to_builtins(r.gate) for r in records if r.gate is not None},
    )


def verdicts(
    run: StoredRun, baseline: StoredRun, stored: StoredRuns, *, settings: Mapping[str, Any]
) -> list[StoredVerdict]:
    """Every case of a run by a baseline and the anchor, with the spread of all earlier sessions."""
    return judge_run(
        run.rounds,
        baseline.rounds,
        stored.anchor_rounds(without=run),
        [other.rounds for other in stored.runs if other.path != run.path],
        settings=settings,
        not_measured=run.not_measured,
        marked=run.limits,
    )
