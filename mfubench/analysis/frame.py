"""Results as pandas: one row per case and run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from mfubench.analysis.results import Result, ResultError, is_case, read_result

STATS = ("min", "median", "mean", "max", "stddev", "iqr", "rounds")


def load(source: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    """Saved runs as a frame with one row per case and run.

    `source` is a result file, a folder that is searched, or several of either. Columns: run (path),
    datetime, commit, fingerprint, fullname, every field of `extra_info`, and pytest-benchmark's
    statistics of the rounds as `<name>_s` (seconds). Files that are no results are left out and
    listed in `frame.attrs["skipped"]` as (path, reason).

    Raises FileNotFoundError when a path does not exist.
    """
    sources = [source] if isinstance(source, str | Path) else list(source)
    rows: list[dict[str, Any]] = []
    skipped: list[tuple[str, str]] = []
    for path in _files(sources):
        try:
            rows.extend(_rows(read_result(path)))
        except ResultError as error:
            skipped.append((str(path), str(error)))
    frame = pd.DataFrame(rows)
    frame.attrs["skipped"] = skipped
    return frame


def _files(sources: Iterable[str | Path]) -> Iterator[Path]:
    for source in sources:
        path = Path(source)
        if path.is_dir():
            # Saved runs are numbered; ceilings.json and the like are not runs.
            yield from sorted(path.rglob("[0-9][0-9][0-9][0-9]_*.json"))
        elif path.exists():
            yield path
        else:
            raise FileNotFoundError(f"no result file or folder at {path}")


def _rows(result: Result) -> Iterator[dict[str, Any]]:
    ours = result.data.get("mfubench") or {}
    run = {
        "run": str(result.path),
        "datetime": result.data.get("datetime"),
        "commit": (result.data.get("commit_info") or {}).get("id"),
        "fingerprint": (ours.get("fingerprint") or {}).get("id"),
    }
    for benchmark in result.data["benchmarks"]:
        stats = benchmark.get("stats") or {}
        times = {f"{name}_s" if name != "rounds" else name: stats.get(name) for name in STATS}
        info = benchmark["extra_info"] if is_case(benchmark) else {}
        yield {**run, "fullname": benchmark.get("fullname"), **times, **info}
    for info in ours.get("other_outcomes", []):
        yield {**run, **info}
