"""Saving a run so that nothing measured is lost: whole files only, never over another one."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import tempfile
from pathlib import Path

from mfubench.results.folder import next_number


def json_text(data: object, *, indent: int | None = 1) -> str:
    """JSON as every parser reads it: a NaN or an infinity becomes null.

    >>> json_text({"a": float("nan"), "b": (1, 2)}, indent=None)
    '{"a": null, "b": [1, 2]}'
    """
    return json.dumps(_finite(data), default=_unserializable, indent=indent, allow_nan=False)


def _unserializable(value: object) -> str:
    """As pytest-benchmark writes what JSON cannot say: a run is saved all the same."""
    return f"UNSERIALIZABLE[{value!r}]"


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def write_elsewhere(name: str, text: str) -> Path:
    """Write a file in a new folder of the system's temporary one, when its own cannot take it.

    Where that one is full too, it goes where the user stands, or home. Raises OSError.
    """
    problem: OSError | None = None
    for parent in (None, Path.cwd, Path.home):
        try:
            folder = tempfile.mkdtemp(prefix="mfubench-results-", dir=parent and parent())
        except (OSError, RuntimeError) as error:
            problem = error if isinstance(error, OSError) else problem
            continue
        try:
            return write_whole(Path(folder) / name, text)
        except OSError as error:
            problem = error
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
    raise problem or OSError(errno.ENOSPC, "no folder takes it")


def write_problem(folder: Path) -> str | None:
    """Why no file can be made in a folder, which is made if need be; None where one can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".writable-"):
            return None
    except OSError as error:
        return str(error.strerror or error)


def write_numbered(folder: Path, name: str, text: str) -> Path:
    """Write a new file `NNNN_<name>` under the next free number of a folder, in one piece.

    Two processes that write at once get two numbers. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = next_number(folder)
    while True:
        try:
            return write_whole(folder / f"{number:04d}_{name}", text)
        except FileExistsError:  # another process took the number meanwhile
            number += 1


def write_whole(path: Path, text: str) -> Path:
    """Write a new file in one piece; raises FileExistsError rather than replace another.

    A hard link appears whole or not at all, and fails where the name is taken. Where the file
    system has no hard links, an exclusive open keeps the second promise.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(partial, path)
        except FileExistsError:
            raise
        except OSError:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return path
