"""Every finished case on disk at once, so that a killed run loses nothing.

An interrupt is saved as a result; a process that the system kills (out of memory, power) cannot.
Its finished cases stay in `unsaved-<pid>.jsonl` beside the results: one JSON object per case, its
`extra_info` and its rounds.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import psutil

from mfubench.results.write import json_text

PREFIX = "unsaved-"


class Journal:
    """The unsaved cases of this process."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{PREFIX}{os.getpid()}.jsonl"

    def add(self, info: dict[str, Any], rounds_s: list[float]) -> None:
        """Append one case. A full disk is met again, and reported, when the run is saved."""
        line = json_text({**info, "rounds_s": rounds_s}, indent=None)
        with contextlib.suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def saved(self) -> None:
        """The run is saved: the journal has done its work."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def left_behind(folder: Path) -> list[Path]:
    """Journals of processes that are gone."""
    found = []
    for path in sorted(folder.glob(f"{PREFIX}*.jsonl")):
        pid = path.stem.removeprefix(PREFIX)
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            found.append(path)
    return found
