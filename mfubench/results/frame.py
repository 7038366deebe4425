"""Results as pandas: one row per case and run, or one per round."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from mfubench.results.folder import result_paths
from mfubench.results.read import Result, ResultError, kind_in, read_json, result_in

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


class Cases(pd.DataFrame):
    """A frame that a notebook shows by its headline: the columns that answer, in readable units.

    Everything else is a DataFrame's; all columns are there.
    """

    @property
    def _constructor(self) -> type[Cases]:
        return Cases

    def _repr_html_(self) -> str:
        shown = pd.DataFrame(
            {
                name: self[column].map(form, na_action="ignore")
                for column, (name, form) in HEADLINE.items()
                if column in self.columns
            }
        )
        if "case" not in shown.columns:
            return pd.DataFrame(self).to_html(max_rows=60)
        more = len(self.columns) - len(shown.columns)
        return (
            shown.to_html(index=False, na_rep="–", max_rows=60, justify="left")
            + f"<p>{len(self)} rows; {more} more columns: list(frame.columns)</p>"
        )


HEADLINE: dict[str, tuple[str, Callable[[Any], str]]] = {
    "case_id": ("case", str),
    "outcome": ("outcome", str),
    "step_s": ("ms/step", lambda seconds: f"{seconds * 1e3:.2f}"),
    "tokens_per_s": ("tokens/s", lambda rate: f"{rate:,.0f}"),
    "achieved_flops_per_s": ("GFLOP/s", lambda rate: f"{rate / 1e9:,.1f}"),
    "ceiling_utilisation": ("of ceiling", lambda share: f"{share * 100:.1f} %"),
    "mfu": ("MFU", lambda share: f"{share * 100:.1f} %"),
    "commit": ("commit", lambda commit: str(commit)[:7]),
}


def load(
    source: str | Path | Iterable[str | Path], *, per: Literal["case", "round"] = "case"
) -> pd.DataFrame:
    """Saved runs as a frame with one row per case and run, or with `per="round"` one per round.

    `source` is a result file, a folder that is searched, or several of either. Columns per case:
    run (path), datetime, commit, fingerprint, fullname, every field of `extra_info`, and
    pytest-benchmark's statistics of the rounds as `<name>_s` (seconds). Per round: the columns of
    `PER_ROUND`, `round` (from 0) and `seconds`. Files that are not valid results are left out and
    listed in `frame.attrs["skipped"]` as (path, reason); advice, gates and self-tests hold no cases
    and are passed over.

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
            if kind_in(data) is not None:
                continue
            result = result_in(path, data)
        except ResultError as error:
            skipped.append((str(path), str(error)))
            continue
        for found, kind in zip(rows, kinds, strict=True):
            found.extend(ROWS[kind](result))
    made: list[pd.DataFrame] = [Cases(found) for found in rows]
    for frame in made:
        frame.attrs["skipped"] = skipped
    return made


def _rows(result: Result) -> Iterator[dict[str, Any]]:
    run = _run(result)
    for benchmark in result.run.benchmarks:
        stats = benchmark.stats
        times = {f"{n}_s" if n != "rounds" else n: getattr(stats, n) for n in STATS}
        info = benchmark.extra_info if benchmark.is_case else {}
        yield {**run, "fullname": benchmark.fullname, **times, **_flat(info)}
    for info in result.others:
        yield {**run, **_flat(info)}


def _round_rows(result: Result) -> Iterator[dict[str, Any]]:
    run = _run(result)
    measured = [(b.fullname, b.extra_info, b.stats.data) for b in result.run.benchmarks]
    others = [(None, info, info.get("rounds_s")) for info in result.others]
    for fullname, info, rounds_s in (*measured, *others):
        row = {**run, **info, "fullname": fullname}
        head = {name: row.get(name) for name in PER_ROUND}
        for number, seconds in enumerate(rounds_s or []):
            yield {**head, "round": number, "seconds": seconds}


ROWS: dict[str, Callable[[Result], Iterator[dict[str, Any]]]] = {
    "case": _rows,
    "round": _round_rows,
}


def _flat(info: dict[str, Any]) -> dict[str, Any]:
    """A value with an interval becomes three columns: the value, its `_low` and its `_high`.

    >>> _flat({"skew": {"value": 0.9, "low": 0.8, "high": 1.0}, "ranks": 2})
    {'skew': 0.9, 'skew_low': 0.8, 'skew_high': 1.0, 'ranks': 2}
    """
    row: dict[str, Any] = {}
    for name, value in info.items():
        if isinstance(value, dict) and value.keys() == {"value", "low", "high"}:
            row |= {name: value["value"], f"{name}_low": value["low"]}
            row[f"{name}_high"] = value["high"]
        else:
            row[name] = value
    return row


def _run(result: Result) -> dict[str, Any]:
    return {
        "run": str(result.path),
        "datetime": result.run.datetime or None,
        "commit": result.run.commit_info.id,
        "fingerprint": result.run.machine,
    }
