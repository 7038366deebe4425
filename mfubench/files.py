"""Files that a user names: read within bounds and without waiting, written whole or through.

A name may be a folder, a device, a pipe that nobody writes or reads, a link, or far too long. What
cannot be done is an OSError whose `strerror` is half a sentence ("it is a folder").
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from pathlib import Path
from typing import BinaryIO, cast

_HEAD_BYTES = 65536
_READING = (
    os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOCTTY", 0)
)  # fmt: skip
_IN_PLACE = (errno.EACCES, errno.EPERM, errno.EBUSY, errno.EXDEV, errno.EROFS)
"""Why a folder takes no new file although the file itself may be written: it is mounted alone."""


class _Pipe(io.RawIOBase):
    """A pipe whose first bytes were read to see whether anybody writes into it."""

    def __init__(self, descriptor: int, head: bytes) -> None:
        self._file = io.FileIO(descriptor, "rb")
        self._head = head

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        taken = self._head[: len(buffer)]
        if taken:
            self._head = self._head[len(taken) :]
        else:
            taken = self._file.read(len(buffer)) or b""
        buffer[: len(taken)] = taken
        return len(taken)

    def close(self) -> None:
        self._file.close()
        super().close()


def open_input(path: Path) -> BinaryIO:
    """A file for reading, or a pipe that somebody writes into. Raises OSError, for a device too,
    and waits for nobody who might open the pipe's other end."""
    try:
        descriptor = os.open(path, _READING)
    except ValueError as error:  # a zero byte in the name
        raise OSError(errno.EINVAL, str(error)) from None
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if stat.S_ISFIFO(mode):
            return cast("BinaryIO", io.BufferedReader(_pipe(descriptor)))
        if not stat.S_ISREG(mode) and not os.isatty(descriptor):
            raise OSError(errno.EINVAL, "it is a device and no file")
        if hasattr(os, "set_blocking") and not stat.S_ISREG(mode):
            os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        raise


def _pipe(descriptor: int) -> _Pipe:
    try:
        head = os.read(descriptor, _HEAD_BYTES)
    except BlockingIOError:  # somebody writes, and has not yet
        head = b""
    else:
        if not head:
            raise OSError(errno.ENXIO, "it is a pipe and nobody writes into it")
    os.set_blocking(descriptor, True)
    return _Pipe(descriptor, head)


def read_input(path: Path, most_bytes: int) -> bytes:
    """A file's bytes, whatever its size says: never more than `most_bytes`. Raises OSError."""
    with open_input(path) as file:
        if path.stat().st_size <= most_bytes:
            content = file.read(most_bytes + 1)
            if len(content) <= most_bytes:
                return content
    raise OSError(errno.EFBIG, f"it holds more than {most_bytes / 2**20:g} MiB")


def output_problem(path: Path) -> str | None:
    """Why a file could not be written, found out before anything is measured; None where it can.

    >>> output_problem(Path("."))
    'it is a folder'
    """
    try:
        if path.is_dir():
            return "it is a folder"
        if path.exists():
            return None if os.access(path, os.W_OK) else "it may not be written"
        target = Path(os.path.realpath(path))
        if not target.parent.is_dir():
            return f"there is no folder {target.parent}"
        return None if os.access(target.parent, os.W_OK) else f"{target.parent} is not writable"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)


def write_output(path: Path, content: str | bytes) -> Path:
    """Write a file that a user named, over what is there. Raises OSError.

    A file is replaced in one piece, so that no reader and no full disk leaves half of it; a link is
    followed; a device or a pipe that somebody reads is written into and stays what it is.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = None  # a new file, or a link to one
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error)) from None
    if mode is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if mode is None or stat.S_ISREG(mode):
        _replace(Path(os.path.realpath(path)), data, mode)
    elif stat.S_ISBLK(mode):
        raise OSError(errno.EINVAL, "it is a disk")
    else:
        _write_through(path, data)
    return path


def _replace(path: Path, data: bytes, mode: int | None) -> None:
    import tempfile  # a tenth of the time in which the command line starts

    try:
        descriptor, name = tempfile.mkstemp(".partial", ".mfubench-", path.parent)
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {path.parent}") from None
    except OSError as error:
        if mode is None or error.errno not in _IN_PLACE:
            raise
        _write_through(path, data)
        return
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(stat.S_IMODE(mode) if mode is not None else 0o666 & ~_umask())
        try:
            partial.replace(path)
        except OSError as error:
            if mode is None or error.errno not in _IN_PLACE:
                raise
            _write_through(path, data)
    finally:
        partial.unlink(missing_ok=True)


def _write_through(path: Path, data: bytes) -> None:
    """Into a device, a pipe, or a file that cannot be replaced."""
    flags = os.O_WRONLY | os.O_TRUNC | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "it is a pipe and nobody reads from it") from None
        raise
    if hasattr(os, "set_blocking"):
        os.set_blocking(descriptor, True)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
