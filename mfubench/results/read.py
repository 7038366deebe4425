"""Reading result files: this suite's, and plain pytest-benchmark's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

MAX_FILE_BYTES = 64 * 2**20
"""A file above this is refused: a run is a few hundred kilobytes."""


class ResultError(ValueError):
    """A file that is no result, in one sentence."""


@dataclass(frozen=True, slots=True)
class Result:
    """One saved run."""

    path: Path
    data: dict[str, Any]

    @property
    def machine(self) -> str | None:
        """The id of the machine's fingerprint; None where the file does not say."""
        found: Any = self.data
        for key in ("mfubench", "fingerprint", "id"):
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, str) and found else None

    @property
    def infos(self) -> list[dict[str, Any]]:
        """Every case's `extra_info`, those that were not measured included."""
        measured = [b["extra_info"] for b in self.data["benchmarks"] if is_case(b)]
        return [*measured, *self.others]

    @property
    def others(self) -> list[dict[str, Any]]:
        """`extra_info` of the cases that are not `ok`."""
        ours = self.data.get("mfubench")
        found = ours.get("other_outcomes") if isinstance(ours, dict) else None
        return [i for i in found if isinstance(i, dict)] if isinstance(found, list) else []


def is_case(benchmark: dict[str, Any]) -> bool:
    """Whether a benchmark entry is one of this suite's (any pytest-benchmark file may be read)."""
    return isinstance(benchmark.get("extra_info"), dict) and "case_id" in benchmark["extra_info"]


def result_paths(sources: Iterable[str | Path]) -> Iterator[Path]:
    """The files given, and the saved runs and documents below the folders given.

    Those are numbered; ceilings.json and the like are neither. Raises FileNotFoundError when a path
    does not exist.
    """
    for source in sources:
        path = Path(source)
        if path.is_dir():
            yield from sorted(path.rglob("[0-9][0-9][0-9][0-9]*_*.json"))
        elif path.exists():
            yield path
        else:
            raise FileNotFoundError(f"no result file or folder at {path}")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; raises ResultError with a sentence.

    NaN and infinities, which JSON does not have and Python writes all the same, are read as null:
    unknown stays unknown.
    """
    try:
        size_bytes = path.stat().st_size
        if size_bytes > MAX_FILE_BYTES:
            raise ResultError(
                f"{path} has {size_bytes / 2**20:.0f} MiB; no result is that large "
                f"(at most {MAX_FILE_BYTES // 2**20} MiB are read)"
            )
        data = parse_json(path.read_bytes())
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ResultError(f"{path} is not whole JSON ({error})") from None
    if not isinstance(data, dict):
        raise ResultError(f"{path} is JSON, but not an object as pytest-benchmark writes it")
    return data


def parse_json(text: bytes) -> object:
    """JSON by the fast parser, and by Python's where only that one reads it (NaN)."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text.decode("utf-8"), parse_constant=lambda _: None)


def read_result(path: Path) -> Result:
    """A saved run; raises ResultError when the file is none."""
    return result_in(path, read_json(path))


def result_in(path: Path, data: dict[str, Any]) -> Result:
    """The run in a file's object; raises ResultError when it is none."""
    benchmarks = data.get("benchmarks")
    if not isinstance(benchmarks, list) or not all(isinstance(b, dict) for b in benchmarks):
        raise ResultError(f"{path} has no list of benchmarks; is it a pytest-benchmark file?")
    return Result(path, data)
