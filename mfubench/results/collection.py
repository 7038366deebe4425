"""Many stored runs as one collection: the newest record of every case, and every case's history."""

from __future__ import annotations

import re
import string
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mfubench.results.outcomes import Outcome
from mfubench.results.read import Document
from mfubench.results.record import CaseRecord
from mfubench.results.run import DocumentHeader, RunHeader

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
    _named: dict[tuple[str, ...], dict[str, tuple[str, str]]] = field(default_factory=dict)

    @property
    def machines(self) -> list[str]:
        """Fingerprints of the machines that have cases."""
        return list(dict.fromkeys(case.run.machine for case in self.cases))

    @property
    def all_machines(self) -> list[str]:
        """Fingerprints of the machines that have cases or documents, in this order."""
        documents = (document for found in self.documents.values() for document in found)
        return list(dict.fromkeys([*self.machines, *(document.machine for document in documents)]))

    def name(self, machine: str) -> str:
        """What people call a machine: by its GPU or CPU, with a letter where names are equal."""
        bare, letter = self._names()[machine]
        return f"{bare}, machine {letter}" if letter else bare

    def label(self, machine: str) -> str:
        """The name, or where several machines have it the letter alone."""
        bare, letter = self._names()[machine]
        return f"machine {letter}" if letter else bare

    def _names(self) -> dict[str, tuple[str, str]]:
        """Each machine's name and its letter, empty where the name says it."""
        machines = tuple(self.all_machines)
        if machines not in self._named:
            self._named[machines] = self._all_names(machines)
        return self._named[machines]

    def _all_names(self, machines: tuple[str, ...]) -> dict[str, tuple[str, str]]:
        bare = {machine: self._bare_name(machine) for machine in machines}
        shared = Counter(bare.values())
        lettered = [machine for machine in bare if shared[bare[machine]] > 1]
        letters = {machine: letter_of(index) for index, machine in enumerate(lettered)}
        return {machine: (name, letters.get(machine, "")) for machine, name in bare.items()}

    def _bare_name(self, machine: str) -> str:
        names = {
            kind: str(described.get("name") or "")
            for run in self.runs
            if run.machine == machine and run.path in self.headers
            for kind, described in self.headers[run.path].devices.items()
        }
        used = {case.record.device for case in self.cases if case.run.machine == machine}
        told = [name for kind, name in names.items() if kind in used and kind != "cpu" and name]
        told.append(names.get("cpu", ""))
        parts = [
            header.fingerprint.parts
            for header in (*self.headers.values(), *self._document_headers())
            if header.fingerprint.id == machine
        ]
        told += [str(part.get("cpu_model_name") or "") for part in parts]
        return next(filter(None, map(short_name, told)), "") or short_name(machine) or "a machine"

    def _document_headers(self) -> list[DocumentHeader]:
        return [document.header for found in self.documents.values() for document in found]

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
        several = len(self.all_machines) > 1
        return f"{self.name(document.machine)}: " if several else ""

    def ok(self, *questions: str) -> list[Case]:
        """Measured cases of these questions."""
        measured = (case for case in self.cases if case.record.outcome is Outcome.OK)
        return [case for case in measured if case.record.question in questions]

    def place(self, case: Case) -> str:
        """The machine, where there are several; a page about one need not repeat it."""
        return f"{self.label(case.run.machine)}: " if len(self.machines) > 1 else ""

    def device_name(self, case: Case) -> str:
        """What a device calls itself, or its kind."""
        described = self.headers[case.run.path].devices.get(case.record.device, {})
        return str(described.get("name") or case.record.device)

    @property
    def is_empty(self) -> bool:
        return not (self.cases or self.foreign or self.documents)


LONGEST_NAME = 40
_NOISE = re.compile(
    r"\((?:R|TM|C)\)|\bCPU\b|@.*$|\b\d+-Core\b|\bProcessor\b|\bwith Radeon Graphics\b",
    re.IGNORECASE,
)


def short_name(name: str) -> str:
    """A device's name without what no one says aloud.

    >>> short_name("Intel(R) Core(TM) i7-8700K CPU @ 3.70GHz")
    'Intel Core i7-8700K'
    >>> short_name("AMD EPYC 7763 64-Core Processor"), short_name("NVIDIA H100 80GB HBM3")
    ('AMD EPYC 7763', 'NVIDIA H100 80GB HBM3')
    """
    said = " ".join(_NOISE.sub(" ", name[:400]).split())
    return said if len(said) <= LONGEST_NAME else said[: LONGEST_NAME - 1] + "…"


def letter_of(index: int) -> str:
    """A, B, … Z, then AA, AB, … as a spreadsheet names its columns.

    >>> letter_of(0), letter_of(25), letter_of(26)
    ('A', 'Z', 'AA')
    """
    letters = string.ascii_uppercase
    return letters[index] if index < 26 else letter_of(index // 26 - 1) + letters[index % 26]
