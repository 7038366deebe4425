"""Reading saved runs and documents: whole, typed, and refused with the field that is wrong."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from mfubench.files import read_input
from mfubench.results.outcomes import SCHEMA_VERSION
from mfubench.results.record import CaseRecord
from mfubench.results.run import DocumentHeader, Run, Stats
from mfubench.streams import shortened

MAX_FILE_BYTES = 64 * 2**20
"""A file above this is refused: a run is a few hundred kilobytes."""

MAX_DEPTH = 40
"""A file that is nested more deeply is refused; ours have a dozen levels."""
MOST_DIGITS = 25
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % (MOST_DIGITS + 1))
_SURROGATES = re.compile("[\ud800-\udfff]")

T = TypeVar("T")


class ResultError(ValueError):
    """A file that is not a valid result, in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One saved run."""

    path: Path
    run: Run
    records: list[tuple[CaseRecord, Stats | None]]
    """Every case of this suite with the statistics of its rounds; what was not measured has none.
    """

    @property
    def others(self) -> list[dict[str, Any]]:
        """`extra_info` of the cases that are not `ok`."""
        return self.run.header.other_outcomes if self.run.header else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a command found: advice, a gate's verdict, a self-test. Its room knows the body."""

    path: Path
    header: DocumentHeader
    body: dict[str, Any]

    @property
    def machine(self) -> str:
        """The id of the machine's fingerprint."""
        return self.header.fingerprint.id

    def has_load(self) -> bool:
        """Whether a self-test was measured beside a planted load; no other document has one."""
        return bool(self.body.get("load", "none") != "none")

    def read(self, body: type[T]) -> T:
        """The body as its room's type; raises ResultError with the field that is wrong."""
        return converted(self.path, self.body, body, self.header.kind)


def read_bytes(path: Path) -> bytes:
    """A file's bytes; raises ResultError when it is too large or cannot be read."""
    try:
        return read_input(path, MAX_FILE_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise ResultError(
                f"{path} has more than {MAX_FILE_BYTES // 2**20} MiB; no result is that large"
            ) from None
        raise ResultError(f"{path} cannot be read: {error.strerror or error}") from None


def decoded(path: Path, text: bytes, into: type[T]) -> T:
    """A file's JSON as a type; raises ResultError with the field that is wrong.

    NaN and infinities, which JSON does not have and Python writes all the same, are read as null:
    unknown stays unknown.
    """
    try:
        found = msgspec.json.decode(text, type=into)
    except msgspec.ValidationError as error:
        # A number that is out of range for msgspec is unknown for the reader below, as in any file.
        if not _LONG_NUMBER.search(text):
            raise ResultError(f"{path} is not a valid result: {in_words(error)}") from None
    except (msgspec.DecodeError, RecursionError, OverflowError, UnicodeDecodeError):
        pass
    else:
        if not _LONG_NUMBER.search(text):  # msgspec reads whole numbers of any length
            _refuse_depth(path, found)
            return found
    try:
        data = json.loads(
            text.decode("utf-8"), parse_constant=_unknown, parse_float=_finite, parse_int=_whole
        )
    except (ValueError, RecursionError) as error:
        raise ResultError(f"{path} is not a result file: {_no_json(text, error)}") from None
    _refuse_depth(path, data)
    return converted(path, _without_surrogates(data), into)


def _no_json(text: bytes, error: Exception) -> str:
    """What a file holds that is no JSON."""
    if not text.strip():
        return "it is empty"
    if isinstance(error, UnicodeDecodeError):
        return "it is no text in UTF-8, and a result is JSON"
    if isinstance(error, json.JSONDecodeError):
        if text.lstrip()[:1] not in (b"{", b"["):
            return "it is no JSON"
        return f"its JSON breaks off, or is wrong, at line {error.lineno}"
    return "it is nested too deeply, or holds a number that is far too long"


def _unknown(_: str) -> None:
    return None


def _finite(text: str) -> float | None:
    """A number; None where it is too large for one, as 1e999 is."""
    value = float(text)
    return value if math.isfinite(value) else None


def _whole(text: str) -> int | float | None:
    """A whole number; a float or None beyond 64 bits, which nothing that we count reaches."""
    return int(text) if len(text) <= MOST_DIGITS else _finite(text)


def _refuse_depth(path: Path, data: object) -> None:
    """Raise ResultError for JSON that is nested so deeply that no reader of ours would end."""
    level = [data]
    for _ in range(MAX_DEPTH):
        level = [
            value
            for item in level
            if isinstance(item, dict | list)
            for value in (item.values() if isinstance(item, dict) else item)
            if isinstance(value, dict | list)
        ]
        if not level:
            return
    raise ResultError(f"{path} is nested more than {MAX_DEPTH} levels deep; no result is")


def _without_surrogates(data: object) -> object:
    """Half a character, which no encoding can write, becomes the mark of a missing one."""
    if isinstance(data, str):
        return data if data.isascii() else _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", data)
    if isinstance(data, dict):
        return {_without_surrogates(k): _without_surrogates(v) for k, v in data.items()}
    if isinstance(data, list):
        return [_without_surrogates(item) for item in data]
    return data


def converted(path: Path, data: Any, into: type[T], where: str = "") -> T:
    """JSON types as a type; raises ResultError with the field that is wrong."""
    try:
        return msgspec.convert(data, into)
    except (msgspec.ValidationError, RecursionError, OverflowError) as error:
        raise ResultError(f"{path} is not a valid result: {in_words(error, where)}") from None


@contextlib.contextmanager
def shown(path: Path) -> Iterator[None]:
    """Within, a field that no check of ours foresaw is one sentence: raises ResultError."""
    try:
        yield
    except ResultError:
        raise
    except (
        *(ArithmeticError, AttributeError, LookupError),
        *(StopIteration, TypeError, ValueError),
    ) as error:
        raise ResultError(
            f"{path} cannot be shown: a field of it is not as its schema version says "
            f"({type(error).__name__}: {str(error)[:200]})"
        ) from None


def in_words(error: Exception, where: str = "") -> str:
    """A validation error with its field first.

    >>> in_words(ValueError("Expected `float | null`, got `str` - at `$.stats.q1`"), "benchmarks/0")
    'benchmarks/0/stats/q1: expected float | null, got str'
    """
    said, _, path = str(error).partition(" - at `$")
    parts = path.rstrip("`").replace("[", ".").replace("]", "").strip(".").split(".")
    field = "/".join(part for part in (where, *parts) if part) or "the file"
    return shortened(f"{field}: {said[:1].lower()}{said[1:]}".replace("`", ""))


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; raises ResultError with a sentence."""
    data = decoded(path, read_bytes(path), object)
    if not isinstance(data, dict):
        raise ResultError(f"{path} is JSON, but not an object as pytest-benchmark writes it")
    return data


def read_result(path: Path) -> Result:
    """A saved run, or another suite's pytest-benchmark file; raises ResultError otherwise."""
    return result_in(path, read_json(path))


def result_in(path: Path, data: dict[str, Any]) -> Result:
    """The run in a file's object; raises ResultError with the field that is wrong."""
    refuse_version_of(path, data)
    if not isinstance(data.get("benchmarks"), list):
        raise ResultError(f"{path} has no list of benchmarks; is it a pytest-benchmark file?")
    run = converted(path, data, Run)
    records = []
    for where, info, stats in run.cases():
        try:
            records.append((CaseRecord.from_data(info), stats))
        except (msgspec.ValidationError, RecursionError) as error:
            raise ResultError(f"{path} is not a valid result: {in_words(error, where)}") from None
    return Result(path=path, run=run, records=records)


def document_in(path: Path, data: dict[str, Any]) -> Document:
    """The document in a file's object; raises ResultError with the field that is wrong."""
    refuse_version_of(path, data)
    header = converted(path, data.get("mfubench"), DocumentHeader, "mfubench")
    body = converted(path, data.get(header.kind), dict[str, Any], header.kind)
    return Document(path=path, header=header, body=body)


def read_document(path: Path) -> Document:
    """A saved document; raises ResultError when the file is none."""
    return document_in(path, read_json(path))


def kind_in(data: dict[str, Any]) -> str | None:
    """The kind of the document in a file's object; None where it is a run."""
    ours = data.get("mfubench")
    kind = ours.get("kind") if isinstance(ours, dict) else None
    return None if kind is None else str(kind)


def refuse_version_of(path: Path, data: dict[str, Any]) -> None:
    """Raise ResultError for a file's object that another version of the schema describes."""
    ours = data.get("mfubench")
    if isinstance(ours, dict):
        refuse_version(path, ours.get("schema_version"), ours.get("mfubench_version"))


def refuse_version(path: Path, version: object, writer: object) -> None:
    """Raise ResultError for a file that another version of the schema describes."""
    if version == SCHEMA_VERSION and not isinstance(version, bool):
        return
    wrote = writer if isinstance(writer, str) and writer else "not named"
    raise ResultError(
        f"{path} has schema version {version!r}; this mfubench reads version {SCHEMA_VERSION}. "
        f"Read it with the mfubench that wrote it ({wrote})."
    )
