"""Reading many stored runs into one collection.

A thousand runs are read one by one and let go: of each case only its middle and quartiles are
decoded, and only the files that hold a newest record are read a second time, checked and kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from mfubench.results.collection import FOREIGN_ROWS, Case, Collection, Foreign, Point, SavedRun
from mfubench.results.folder import DOCUMENTS, result_paths
from mfubench.results.read import (
    ResultError,
    decoded,
    document_in,
    read_bytes,
    read_json,
    refuse_version,
    result_in,
)
from mfubench.results.run import Commit, Settings, Software

# What is decoded of a file at first; everything else in it is passed over without being kept.


class _Quartiles(Struct):
    median: float | None = None
    q1: float | None = None
    q3: float | None = None
    min: float | None = None
    stddev: float | None = None
    rounds: int | None = None


class _CaseName(Struct):
    case_id: str | None = None


class _Timing(Struct):
    name: str | None = None
    fullname: str | None = None
    stats: _Quartiles | None = None
    extra_info: _CaseName | None = None


class _Machine(Struct):
    id: str = "unnamed machine"


class _Header(Struct):
    schema_version: object = None
    mfubench_version: object = None
    kind: str | None = None
    fingerprint: _Machine = msgspec.field(default_factory=_Machine)
    complete: bool = True
    software: Software = msgspec.field(default_factory=Software)
    settings: Settings = msgspec.field(default_factory=Settings)
    other_outcomes: list[_CaseName] = []


class _File(Struct):
    benchmarks: list[_Timing] | None = None
    mfubench: _Header | None = None
    datetime: str = ""
    commit_info: Commit | None = None


def collect(sources: Iterable[str | Path], bodies: Mapping[str, type] | None = None) -> Collection:
    """Everything that the files and folders hold. Bad files are skipped with a reason.

    `bodies` are the types of documents by their kinds: a document that does not fit its type is
    skipped too.

    Raises FileNotFoundError when a path does not exist.
    """
    paths = list(dict.fromkeys(result_paths(sources)))
    collection = Collection()
    runs: dict[Path, SavedRun] = {}
    holds: dict[Path, list[str]] = {}
    for path in paths:
        try:
            kind = _read_one(path, collection, runs, holds)
            if kind is not None:
                _read_document(path, kind, collection, bodies or {})
        except ResultError as error:
            collection.skipped.append((str(path), str(error)))
    _keep_newest(collection, runs, holds)
    collection.runs = sorted(runs.values(), key=lambda run: (run.at_s, str(run.path)))
    for points in collection.history.values():
        points.sort(key=lambda point: (point.run.at_s, str(point.run.path)))
    for documents in collection.documents.values():
        documents.sort(key=lambda document: document.header.created, reverse=True)
    collection.foreign_left_out = max(0, len(collection.foreign) - FOREIGN_ROWS)
    collection.foreign = collection.foreign[-FOREIGN_ROWS:]
    return collection


def _read_one(
    path: Path, collection: Collection, runs: dict[Path, SavedRun], holds: dict[Path, list[str]]
) -> str | None:
    """Take a run or a plain file of timings in; of a document only its kind is told."""
    file = decoded(path, read_bytes(path), _File)
    ours = file.mfubench
    if ours is not None:
        refuse_version(path, ours.schema_version, ours.mfubench_version)
        if ours.kind is not None:
            return ours.kind
    if file.benchmarks is None:
        raise ResultError(f"{path} has no list of benchmarks; is it a pytest-benchmark file?")
    run = _run_of(path, file, ours or _Header())
    names: list[str] = []
    for timing in file.benchmarks:
        stats = timing.stats or _Quartiles()
        case_id = timing.extra_info.case_id if timing.extra_info else None
        if ours is not None and case_id is not None:
            names.append(case_id)
            if stats.median is not None and stats.median > 0:
                point = Point(
                    run=run,
                    median_s=stats.median,
                    q1_s=stats.q1 or stats.median,
                    q3_s=stats.q3 or stats.median,
                )
                collection.history.setdefault((run.machine, case_id), []).append(point)
        elif stats.median is not None:
            collection.foreign.append(
                Foreign(
                    path=path,
                    name=timing.fullname or timing.name or "unnamed",
                    median_s=stats.median,
                    min_s=stats.min,
                    stddev_s=stats.stddev,
                    rounds=stats.rounds,
                )
            )
    if ours is not None:
        runs[path] = run
        holds[path] = names + [other.case_id or "" for other in ours.other_outcomes]
    return None


def _read_document(
    path: Path, kind: str, collection: Collection, bodies: Mapping[str, type]
) -> None:
    if kind not in DOCUMENTS:
        raise ResultError(
            f"{path} is a document of kind {kind!r}, which a report cannot show; known: "
            f"{', '.join(DOCUMENTS)}"
        )
    document = document_in(path, read_json(path))
    document.read(bodies.get(kind, dict))
    collection.documents.setdefault(kind, []).append(document)


def _run_of(path: Path, file: _File, ours: _Header) -> SavedRun:
    commit = file.commit_info or Commit()
    return SavedRun(
        path=path,
        machine=ours.fingerprint.id,
        at_s=_epoch_s(file.datetime),
        datetime=file.datetime,
        commit=commit.id or "",
        dirty=commit.dirty is True,
        complete=ours.complete,
        environment=_environment(ours),
    )


def _environment(ours: _Header) -> dict[str, str]:
    """What may change between two runs of one machine without a change of the code."""
    software, settings, torch = ours.software, ours.settings, ours.software.torch
    found = {
        "torch": torch and torch.version,
        "BLAS": torch and (torch.mkl or torch.blas),
        "oneDNN": torch and torch.mkldnn,
        "CUDA": torch and torch.cuda,
        "Python": software.python,
        "numpy": software.numpy,
        "kernel": software.kernel,
        "compiler": software.cxx_compiler,
        "threads": settings.torch_threads,
        "allocator": settings.allocator,
        "governor": settings.governor,
        "variables": " ".join(f"{name}={value}" for name, value in settings.environment.items()),
    }
    return {name: str(value) for name, value in found.items() if value not in (None, "")}


def _keep_newest(
    collection: Collection, runs: dict[Path, SavedRun], holds: dict[Path, list[str]]
) -> None:
    """Read the files again that hold a newest record; one that is not valid is dropped, and what
    it held is looked for in the next."""
    found: dict[Path, list[Case]] = {}
    while True:
        newest = _newest(runs, holds)
        broken = {}
        for path in dict.fromkeys(run.path for run in newest.values()):
            if path in found:
                continue
            try:
                result = result_in(path, read_json(path))
            except ResultError as error:
                broken[path] = str(error)
                continue
            found[path] = [Case(record=r, run=runs[path]) for r, _ in result.records]
            assert result.run.header is not None
            collection.headers[path] = result.run.header
        if not broken:
            break
        for path, reason in broken.items():
            collection.skipped.append((str(path), reason))
            run = runs.pop(path)
            for points in collection.history.values():
                points[:] = [point for point in points if point.run is not run]
    for cases in found.values():
        collection.cases += [
            case
            for case in cases
            if newest.get((case.run.machine, case.record.case_id)) is case.run
        ]
    shown = {case.run.path for case in collection.cases}
    collection.headers = {p: h for p, h in collection.headers.items() if p in shown}


def _newest(
    runs: Mapping[Path, SavedRun], holds: Mapping[Path, list[str]]
) -> dict[tuple[str, str], SavedRun]:
    """By machine and case, the run that has its newest record."""
    newest: dict[tuple[str, str], SavedRun] = {}
    for path, run in runs.items():
        for case_id in holds[path]:
            key = (run.machine, case_id)
            if key not in newest or run.at_s >= newest[key].at_s:
                newest[key] = run
    return newest


def _epoch_s(when: str) -> float:
    try:
        return datetime.fromisoformat(when).timestamp()
    except (ValueError, OverflowError):
        return 0.0
