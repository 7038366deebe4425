"""Many stored runs as one collection: the newest record of every case, and every case's history.

A thousand runs are read one by one and let go: of each case only its middle and quartiles stay, and
only the files that hold a newest record are read a second time, checked and kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from mfubench.results.read import ResultError, is_case, read_json, result_in, result_paths
from mfubench.results.record import SCHEMA_VERSION

DOCUMENTS = ("advice", "gate", "self-test", "trace")
"""Kinds of file that stand beside runs and are none."""

FOREIGN_ROWS = 200
"""Timings of other suites are shown as a table of this many rows at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
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

    run: Run
    median_s: float
    q1_s: float
    q3_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The newest record of a case on a machine."""

    info: dict[str, Any]
    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A timing of another suite: no FLOPs, no peak, no share."""

    path: Path
    name: str
    median_s: float
    min_s: float | None
    stddev_s: float | None
    rounds: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Advice, a gate's verdict or a self-test."""

    path: Path
    created: str
    machine: str
    body: dict[str, Any]


def has_load(body: Mapping[str, Any]) -> bool:
    """Whether a self-test was measured beside a planted load; no other document has one."""
    return bool(body.get("load", "none") != "none")


@dataclass(slots=True)
class Collection:
    """What a report is made of."""

    runs: list[Run] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    history: dict[tuple[str, str], list[Point]] = field(default_factory=dict)
    """By machine and case, in the order of time."""
    foreign: list[Foreign] = field(default_factory=list)
    foreign_left_out: int = 0
    documents: dict[str, list[Document]] = field(default_factory=dict)
    """By kind, newest first."""
    provenance: dict[Path, Mapping[str, Any]] = field(default_factory=dict)
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
        for document in sorted(self.documents.get(kind, []), key=lambda d: has_load(d.body)):
            found.setdefault(document.machine, document)
        return list(found.values())

    def whose(self, document: Document) -> str:
        """Words for a document's machine, with a colon; empty where there is only one machine."""
        several = {d.machine for documents in self.documents.values() for d in documents}
        return f"On {document.machine}: " if len(several.union(self.machines)) > 1 else ""

    @property
    def is_empty(self) -> bool:
        return not (self.cases or self.foreign or self.documents)


def collect(sources: Iterable[str | Path]) -> Collection:
    """Everything that the files and folders hold. Bad files are skipped with a reason.

    Raises FileNotFoundError when a path does not exist.
    """
    paths = list(dict.fromkeys(result_paths(sources)))
    collection = Collection()
    runs: dict[Path, Run] = {}
    holds: dict[Path, list[str]] = {}
    for path in paths:
        try:
            _read_one(path, collection, runs, holds)
        except ResultError as error:
            collection.skipped.append((str(path), str(error)))
    _keep_newest(collection, runs, holds)
    collection.runs = sorted(runs.values(), key=lambda run: (run.at_s, str(run.path)))
    for points in collection.history.values():
        points.sort(key=lambda point: (point.run.at_s, str(point.run.path)))
    for documents in collection.documents.values():
        documents.sort(key=lambda document: document.created, reverse=True)
    collection.foreign_left_out = max(0, len(collection.foreign) - FOREIGN_ROWS)
    collection.foreign = collection.foreign[-FOREIGN_ROWS:]
    return collection


def _read_one(
    path: Path, collection: Collection, runs: dict[Path, Run], holds: dict[Path, list[str]]
) -> None:
    data = read_json(path)
    ours = data.get("mfubench")
    if isinstance(ours, dict):
        version = ours.get("schema_version")
        if version != SCHEMA_VERSION:
            raise ResultError(
                f"{path} has schema version {version!r}; this mfubench reads version "
                f"{SCHEMA_VERSION}. Read it with the mfubench that wrote it "
                f"({text_of(ours.get('mfubench_version')) or 'not named'})."
            )
        if "kind" in ours:
            _read_document(path, data, ours, collection)
            return
    benchmarks = result_in(path, data).data["benchmarks"]
    run = _run_of(path, data, ours if isinstance(ours, dict) else {})
    found: list[str] = []
    for benchmark in benchmarks:
        if isinstance(ours, dict) and is_case(benchmark):
            case_id = text_of(benchmark["extra_info"]["case_id"])
            found.append(case_id)
            if point := _point_of(run, benchmark):
                collection.history.setdefault((run.machine, case_id), []).append(point)
        elif timing := _foreign_of(path, benchmark):
            collection.foreign.append(timing)
    if isinstance(ours, dict):
        others = ours.get("other_outcomes")
        for info in others if isinstance(others, list) else []:
            if isinstance(info, dict):
                found.append(text_of(info.get("case_id")))
        runs[path] = run
        holds[path] = found


def _read_document(
    path: Path, data: dict[str, Any], ours: dict[str, Any], collection: Collection
) -> None:
    kind = text_of(ours["kind"])
    body = data.get(kind)
    if kind not in DOCUMENTS or not isinstance(body, dict):
        raise ResultError(
            f"{path} is a document of kind {kind!r}, which a report cannot show; known: "
            f"{', '.join(DOCUMENTS)}"
        )
    document = Document(
        path=path,
        created=text_of(ours.get("created")),
        machine=_machine_of(ours),
        body=body,
    )
    collection.documents.setdefault(kind, []).append(document)


def _machine_of(ours: Mapping[str, Any]) -> str:
    return text_of(mapping(ours.get("fingerprint")).get("id")) or "unnamed machine"


def _run_of(path: Path, data: dict[str, Any], ours: dict[str, Any]) -> Run:
    commit = mapping(data.get("commit_info"))
    when = text_of(data.get("datetime"))
    return Run(
        path=path,
        machine=_machine_of(ours),
        at_s=_epoch_s(when),
        datetime=when,
        commit=text_of(commit.get("id")),
        dirty=commit.get("dirty") is True,
        complete=ours.get("complete") is not False,
        environment=_environment(ours),
    )


def _environment(ours: dict[str, Any]) -> dict[str, str]:
    """What may change between two runs of one machine without a change of the code."""
    software, settings = mapping(ours.get("software")), mapping(ours.get("settings"))
    torch = mapping(software.get("torch"))
    found = {
        "torch": torch.get("version"),
        "BLAS": torch.get("mkl") or torch.get("blas"),
        "oneDNN": torch.get("mkldnn"),
        "CUDA": torch.get("cuda"),
        "Python": software.get("python"),
        "numpy": software.get("numpy"),
        "kernel": software.get("kernel"),
        "compiler": software.get("cxx_compiler"),
        "threads": settings.get("torch_threads"),
        "allocator": settings.get("allocator"),
        "governor": settings.get("governor"),
        "variables": " ".join(
            f"{name}={value}" for name, value in mapping(settings.get("environment")).items()
        ),
    }
    return {name: str(value) for name, value in found.items() if value not in (None, "")}


def _point_of(run: Run, benchmark: dict[str, Any]) -> Point | None:
    stats = mapping(benchmark.get("stats"))
    median_s = number(stats.get("median"))
    if median_s is None or median_s <= 0:
        return None
    return Point(
        run=run,
        median_s=median_s,
        q1_s=number(stats.get("q1")) or median_s,
        q3_s=number(stats.get("q3")) or median_s,
    )


def _foreign_of(path: Path, benchmark: dict[str, Any]) -> Foreign | None:
    stats = mapping(benchmark.get("stats"))
    median_s = number(stats.get("median"))
    if median_s is None:
        return None
    rounds = number(stats.get("rounds"))
    return Foreign(
        path=path,
        name=text_of(benchmark.get("fullname") or benchmark.get("name")) or "unnamed",
        median_s=median_s,
        min_s=number(stats.get("min")),
        stddev_s=number(stats.get("stddev")),
        rounds=None if rounds is None else int(rounds),
    )


def _keep_newest(
    collection: Collection, runs: dict[Path, Run], holds: dict[Path, list[str]]
) -> None:
    """Read the files again that hold a newest record; one that breaks the schema is dropped, and
    what it held is looked for in the next."""
    checked: dict[Path, dict[str, Any]] = {}
    while True:
        newest = _newest(runs, holds)
        broken = {}
        for path in dict.fromkeys(run.path for run in newest.values()):
            if path not in checked:
                try:
                    checked[path] = _checked(path)
                except ResultError as error:
                    broken[path] = str(error)
        if not broken:
            break
        for path, reason in broken.items():
            collection.skipped.append((str(path), reason))
            run = runs.pop(path)
            for points in collection.history.values():
                points[:] = [point for point in points if point.run is not run]
    for path, data in checked.items():
        if path in runs:
            _keep_records(collection, runs[path], data, newest)


def _newest(
    runs: Mapping[Path, Run], holds: Mapping[Path, list[str]]
) -> dict[tuple[str, str], Run]:
    """By machine and case, the run that has its newest record."""
    newest: dict[tuple[str, str], Run] = {}
    for path, run in runs.items():
        for case_id in holds[path]:
            key = (run.machine, case_id)
            if key not in newest or run.at_s >= newest[key].at_s:
                newest[key] = run
    return newest


def _keep_records(
    collection: Collection,
    run: Run,
    data: dict[str, Any],
    newest: Mapping[tuple[str, str], Run],
) -> None:
    for info in result_in(run.path, data).infos:
        if newest.get((run.machine, str(info["case_id"]))) is run:
            collection.cases.append(Case(info=info, run=run))
            collection.provenance[run.path] = mapping(data.get("mfubench"))


def _checked(path: Path) -> dict[str, Any]:
    from mfubench.results.schema import problems

    data = read_json(path)
    if found := problems(data):
        raise ResultError(f"{path} is no valid result: {found[0]}")
    return data


def _epoch_s(when: str) -> float:
    try:
        return datetime.fromisoformat(when).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def number(value: object) -> float | None:
    """A finite number, or None.

    >>> number(2), number("2"), number(True), number(float("nan"))
    (2.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        as_float = float(value)
    except OverflowError:
        return None
    return as_float if math.isfinite(as_float) else None


def mapping(value: object) -> Mapping[str, Any]:
    """A JSON object, or an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def text_of(value: object) -> str:
    """A text, or an empty one in place of anything else."""
    return value if isinstance(value, str) else ""
