"""A run that lasts, on disk: what a killed process leaves, and its rescue by a later one.

No signal is caught for it. A handler of ours would be seen by the script, and nobody could end a
process that hangs in a call of C. So the result is written from time to time, whole, as if the run
ended there; who ends well takes it away.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import psutil

from mfubench.results.journal import PREFIX
from mfubench.results.write import json_text

FIRST_S, LONGEST_S = 3.0, 600.0
"""A run is kept after this time, then whenever it has lasted half as long again, and at least so
often."""


def next_after_s(lasted_s: float) -> float:
    """Seconds until a run that has lasted so long is kept again.

    >>> next_after_s(0), next_after_s(60), next_after_s(86400)
    (3.0, 30.0, 600.0)
    """
    return min(max(FIRST_S, lasted_s / 2), LONGEST_S)


class RunJournal:
    """The file of this process, in the machine's folder."""

    def __init__(self, folder: Path) -> None:
        # Process numbers come again, in containers the same ones: the time tells them apart.
        self.path = folder / f"{PREFIX}{os.getpid()}-{round(time.time())}.json"

    def write(self, data: dict[str, Any]) -> None:
        """Keep this result in place of the one before. A full disk costs the journal only."""
        partial = self.path.with_suffix(".partial")
        with contextlib.suppress(OSError):
            try:
                partial.write_text(json_text(data), encoding="utf-8")
                partial.replace(self.path)
            finally:
                partial.unlink(missing_ok=True)

    def finish(self) -> None:
        """The run is saved."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def killed_runs(folder: Path) -> list[Path]:
    """Journals of processes that are gone."""
    return [path for path in sorted(folder.glob(f"{PREFIX}*-*.json")) if not _lasts(path)]


def _lasts(path: Path) -> bool:
    pid, _, started = path.stem.removeprefix(PREFIX).partition("-")
    if not pid.isdecimal() or not started.isdecimal():
        return True  # none of ours
    try:
        return bool(psutil.Process(int(pid)).create_time() <= int(started) + 1)
    except psutil.Error:
        return False


def rescue(results_dir: Path) -> list[str]:
    """Save what killed runs left behind as runs of their own; a sentence for each."""
    from mfubench.results.document import machine_dir
    from mfubench.results.single import save_text

    said = []
    for path in killed_runs(machine_dir(results_dir)):
        taken = path.with_suffix(".taken")
        try:
            path.rename(taken)  # of several that look for it one finds it
            where = save_text(taken.read_text(encoding="utf-8"), results_dir)
            taken.unlink()
        except OSError:
            continue
        said.append(
            f"an earlier run was killed before it could save; what it had measured is {where}"
        )
    return said
