"""Many stored runs as one collection: the newest record of every case, and every case's history."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mfubench.results.outcomes import Outcome
from mfubench.results.read import Document
from mfubench.results.record import CaseRecord
from mfubench.results.run import RunHeader

FOREIGN_ROWS = 200
"""Timings of other suites are shown as a table of this many rows at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRun:
    """One saved run, without its cases."""

    path: Path
    machine: str
    at_s: float
    """Seconds since the epoch; 0 where the file does not say."""
    datetime: str
    commit: str
    dirty: bool
    complete: bool
    environment: dict[str, str]
    """What else could change a time: versions, threads, allocator, …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One case in one run, as history needs it."""

    run: SavedRun
    median_s: float
    q1_s: float
    q3_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The newest record of a case on a machine."""

    record: CaseRecord
    run: SavedRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A timing of another suite: no FLOPs, no peak, no share."""

    path: Path
    name: str
    median_s: float
    min_s: float | None
    stddev_s: float | None
    rounds: int | None


@dataclass(slots=True)
class Collection:
    """What a report is made of."""

    runs: list[SavedRun] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    history: dict[tuple[str, str], list[Point]] = field(default_factory=dict)
    """By machine and case, in the order of time."""
    foreign: list[Foreign] = field(default_factory=list)
    foreign_left_out: int = 0
    documents: dict[str, list[Document]] = field(default_factory=dict)
    """By kind, newest first."""
    headers: dict[Path, RunHeader] = field(default_factory=dict)
    """Machine, software and settings of every run that a shown case is from."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """Files that could not be used, with the reason."""

    @property
    def machines(self) -> list[str]:
        return list(dict.fromkeys(case.run.machine for case in self.cases))

    def newest(self, kind: str) -> list[Document]:
        """The newest document of a kind of each machine, the newest first.

        A self-test beside a planted load is taken only where there is no other.
        """
        found: dict[str, Document] = {}
        for document in sorted(self.documents.get(kind, []), key=Document.has_load):
            found.setdefault(document.machine, document)
        return list(found.values())

    def whose(self, document: Document) -> str:
        """Words for a document's machine, with a colon; empty where there is only one machine."""
        several = {d.machine for documents in self.documents.values() for d in documents}
        return f"On {document.machine}: " if len(several.union(self.machines)) > 1 else ""

    def ok(self, *questions: str) -> list[Case]:
        """Measured cases of these questions."""
        measured = (case for case in self.cases if case.record.outcome is Outcome.OK)
        return [case for case in measured if case.record.question in questions]

    def place(self, case: Case) -> str:
        """The machine, where there are several; a page about one need not repeat it."""
        return f"{case.run.machine}: " if len(self.machines) > 1 else ""

    def device_name(self, case: Case) -> str:
        """What a device calls itself, or its kind."""
        described = self.headers[case.run.path].devices.get(case.record.device, {})
        return str(described.get("name") or case.record.device)

    @property
    def is_empty(self) -> bool:
        return not (self.cases or self.foreign or self.documents)
