"""One measurement at a time on a machine: two would each be the other's noise."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

POLL_S = 1.0


class BusyError(RuntimeError):
    """Another gate holds the machine, in one sentence."""


def lock_path() -> Path:
    """The same for every process of a machine."""
    return Path(tempfile.gettempdir()) / "mfubench-timing.lock"


@contextlib.contextmanager
def machine_lock(wait_s: float = 0.0, path: Path | None = None) -> Iterator[None]:
    """Hold the machine; raises BusyError when another process still does after `wait_s`.

    The system frees it when a process dies, whatever it died of.
    """
    try:
        import fcntl
    except ImportError:  # no such locks on Windows: two gates are the user's to keep apart
        yield
        return
    path = path or lock_path()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    with contextlib.suppress(OSError):  # another user's file that is open to all already
        path.chmod(0o666)
    with os.fdopen(descriptor, "r+", encoding="ascii", errors="replace") as file:
        deadline_s = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= deadline_s:
                    raise BusyError(_busy(file)) from None
                time.sleep(POLL_S)
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _busy(file: IO[str]) -> str:
    file.seek(0)
    holder = file.readline().strip() or "unknown"
    return (
        f"another gate is measuring on this machine (process {holder}); two at once would be each "
        "other's noise. Wait for it with --wait 10m"
    )
