"""One measurement at a time on a machine: two would each be the other's noise."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

POLL_S = 1.0


class BusyError(RuntimeError):
    """Another gate holds the machine, in one sentence."""


def lock_path() -> Path:
    """The same for every process of a machine."""
    return Path(tempfile.gettempdir()) / "mfubench-timing.lock"


@contextlib.contextmanager
def machine_lock(wait_s: float = 0.0, path: Path | None = None) -> Iterator[None]:
    """Hold the machine; raises BusyError when another process still does after `wait_s` seconds.

    The system frees it when a process dies, whatever it died of.
    """
    path = path or lock_path()
    holder = path.with_suffix(".pid")  # no process can read a file that is locked on Windows
    for file in (path, holder):
        with contextlib.suppress(OSError):  # another user's file that is open to all already
            file.touch()
            file.chmod(0o666)
    try:
        lock = FileLock(path).acquire(timeout=wait_s, poll_interval=POLL_S)
    except Timeout:
        raise BusyError(
            f"another gate is measuring on this machine (process {_read(holder)}); two at once "
            "would be each other's noise. Wait for it with --wait 10m"
        ) from None
    with lock:
        with contextlib.suppress(OSError):  # another user's: the sentence above says less then
            holder.write_text(f"{os.getpid()}\n", encoding="ascii")
        yield


def _read(holder: Path) -> str:
    try:
        return holder.read_text(encoding="ascii", errors="replace").strip() or "unknown"
    except OSError:
        return "unknown"
