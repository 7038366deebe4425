"""Results as pandas: one row per case and run, or one per round."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from mfubench.results.collection import DOCUMENTS, mapping
from mfubench.results.read import (
    Result,
    ResultError,
    is_case,
    read_json,
    result_in,
    result_paths,
)

STATS = ("min", "median", "mean", "max", "stddev", "iqr", "rounds")
PER_ROUND = (
    "run",
    "datetime",
    "commit",
    "fingerprint",
    "fullname",
    "case_id",
    "question",
    "preset",
    "device",
    "dtype",
    "batch_size",
    "compile",
    "threads",
    "outcome",
)
"""What a row of a round says of its case; the rest is in the frame of cases."""


def load(
    source: str | Path | Iterable[str | Path], *, per: Literal["case", "round"] = "case"
) -> pd.DataFrame:
    """Saved runs as a frame with one row per case and run, or with `per="round"` one per round.

    `source` is a result file, a folder that is searched, or several of either. Columns per case:
    run (path), datetime, commit, fingerprint, fullname, every field of `extra_info`, and
    pytest-benchmark's statistics of the rounds as `<name>_s` (seconds). Per round: the columns of
    `PER_ROUND`, `round` (from 0) and `seconds`. Files that are no results are left out and listed
    in `frame.attrs["skipped"]` as (path, reason); advice, gates and self-tests are no results and
    are passed over.

    Raises FileNotFoundError when a path does not exist, ValueError for another `per`.
    """
    if per not in ROWS:
        raise ValueError(f"per is {per!r}; allowed: 'case', 'round'")
    sources = [source] if isinstance(source, str | Path) else list(source)
    (frame,) = frames(sources, [per])
    return frame


def frames(
    sources: Iterable[str | Path], kinds: Sequence[Literal["case", "round"]]
) -> list[pd.DataFrame]:
    """A frame per kind, as `load` gives them, from one reading of the files."""
    rows: list[list[dict[str, Any]]] = [[] for _ in kinds]
    skipped: list[tuple[str, str]] = []
    for path in result_paths(sources):
        try:
            data = read_json(path)
            if mapping(data.get("mfubench")).get("kind") in DOCUMENTS:
                continue
            result = result_in(path, data)
        except ResultError as error:
            skipped.append((str(path), str(error)))
            continue
        for found, kind in zip(rows, kinds, strict=True):
            found.extend(ROWS[kind](result))
    made = [pd.DataFrame(found) for found in rows]
    for frame in made:
        frame.attrs["skipped"] = skipped
    return made


def _rows(result: Result) -> Iterator[dict[str, Any]]:
    run = _run(result)
    for benchmark in result.data["benchmarks"]:
        stats = mapping(benchmark.get("stats"))
        times = {f"{name}_s" if name != "rounds" else name: stats.get(name) for name in STATS}
        info = benchmark["extra_info"] if is_case(benchmark) else {}
        yield {**run, "fullname": benchmark.get("fullname"), **times, **info}
    for info in result.others:
        yield {**run, **info}


def _round_rows(result: Result) -> Iterator[dict[str, Any]]:
    run = _run(result)
    for benchmark in result.data["benchmarks"]:
        info = benchmark["extra_info"] if is_case(benchmark) else {}
        row = {**run, **info, "fullname": benchmark.get("fullname")}
        head = {name: row.get(name) for name in PER_ROUND}
        rounds = mapping(benchmark.get("stats")).get("data")
        for number, seconds in enumerate(rounds if isinstance(rounds, list) else []):
            yield {**head, "round": number, "seconds": seconds}
    for info in result.others:
        head = {name: {**run, **info}.get(name) for name in PER_ROUND}
        rounds = info.get("rounds_s")
        for number, seconds in enumerate(rounds if isinstance(rounds, list) else []):
            yield {**head, "round": number, "seconds": seconds}


ROWS: dict[str, Callable[[Result], Iterator[dict[str, Any]]]] = {
    "case": _rows,
    "round": _round_rows,
}


def _run(result: Result) -> dict[str, Any]:
    return {
        "run": str(result.path),
        "datetime": result.data.get("datetime"),
        "commit": mapping(result.data.get("commit_info")).get("id"),
        "fingerprint": result.machine,
    }
