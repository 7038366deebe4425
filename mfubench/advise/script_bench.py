"""Fresh processes of a script with and without settings from outside: turns, and losses."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mfubench.sides.bench import Beside, ScriptBench
from mfubench.sides.control import Control
from mfubench.sides.forks import ScriptForks
from mfubench.sides.pair import ScriptPair
from mfubench.sides.spec import SideSpec


class Bench(Protocol):
    """What measures pairs and losses of sides of one script."""

    def pair(self, sides: Sequence[SideSpec], *, steadied: bool, left_s: float) -> ScriptPair:
        """A fresh process per side, in turns. Raises TooShortError."""

    def losses(
        self, sides: Sequence[SideSpec], steps: int, left_s: float
    ) -> list[list[float | None] | str]:
        """The first losses of each side, or why it has none. Raises TooShortError."""


@dataclass
class FreshProcesses:
    """Each pair has processes of its own; compiled code of a combination is found again."""

    folder: Path
    control: Beside = field(default_factory=Control)
    forks: ScriptForks | None = None
    _number: int = 0

    def pair(self, sides: Sequence[SideSpec], *, steadied: bool, left_s: float) -> ScriptPair:
        """One pair of all sides; who comes first alternates."""
        self._number += 1
        bench = self._bench(sides, steadied=steadied)
        return bench.pair(range(len(sides)), self._number, left_s)

    def losses(
        self, sides: Sequence[SideSpec], steps: int, left_s: float
    ) -> list[list[float | None] | str]:
        """One after the other: nothing is timed."""
        return self._bench(sides, steadied=True).losses(steps, left_s)

    def _bench(self, sides: Sequence[SideSpec], *, steadied: bool) -> ScriptBench:
        return ScriptBench(
            sides=sides,
            folder=self.folder,
            control=self.control,
            is_steadied=steadied,
            forks=self.forks,
        )


@contextlib.contextmanager
def fresh_processes() -> Iterator[FreshProcesses]:
    """A bench with a folder for compiled code, gone afterwards."""
    control = Control()
    folder = tempfile.TemporaryDirectory(prefix="mfubench-advise-", ignore_cleanup_errors=True)
    with folder as path, ScriptForks() as forks:
        try:
            yield FreshProcesses(Path(path), control, forks)
        finally:
            control.close()
