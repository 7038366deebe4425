"""Training scripts as cases of a gate: both revisions of each take turns, step by step."""

from __future__ import annotations

import hashlib
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mfubench.gate.measure.pairs import BASE, CANDIDATE
from mfubench.sides.bench import Beside, ScriptBench
from mfubench.sides.control import Control
from mfubench.sides.forks import ScriptForks
from mfubench.sides.pair import ScriptPair, SideOfPair
from mfubench.sides.spec import SideSpec

MOST_LOSSES = 200
"""That are kept of a side, from its first step on."""
NO_LIMIT_S = float(7 * 24 * 3600)
SIDES = (BASE, CANDIDATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptCase:
    """One script of the repository, as it is typed, on both sides."""

    id: str
    base: SideSpec
    candidate: SideSpec
    timed_metrics: int = 3
    """A step, the start-up, and the memory of a process, which varies too."""
    has_bars: bool = False

    @property
    def key(self) -> str:
        """What identifies it beside the code of both sides."""
        return f"{self.id} {self.base.words}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptVariant:
    """What one side of all cases runs."""

    label: str
    state: str
    """Its commit, and what is changed in it."""
    python: str
    scripts: tuple[str, ...]

    def digest(self) -> str:
        """What identifies the code and the Python."""
        return hashlib.sha256(f"{self.state} {self.python}".encode()).hexdigest()[:16]

    def as_data(self) -> dict[str, Any]:
        """What it was, without paths of this machine."""
        return {
            "label": self.label,
            "digest": self.digest(),
            "settings": {},
            "under_test": list(self.scripts),
        }


@dataclass
class ScriptPairBench:
    """Measures pairs of processes of both revisions, script by script."""

    base: ScriptVariant
    candidate: ScriptVariant
    folder: Path
    control: Beside = field(default_factory=Control)
    forks: ScriptForks | None = None
    plants: Sequence[float] = ()
    say: Callable[[str], None] = lambda _: None
    explain: Callable[[str, str], str] = lambda side, words: words
    """What a side's failure means to the user."""
    shared_writes: set[str] = field(default_factory=set)
    """Names of files that both sides opened for writing."""
    device: str | None = None
    """That the steps ran on, once one has."""

    def pair(self, cases: Sequence[ScriptCase], number: int) -> dict[str, Any]:
        """One pair of processes per case: what each side gave, or its failure."""
        found: dict[str, Any] = {}
        for case in cases:
            self.say(f"pair {number + 1}: {textwrap.shorten(case.id, 60, placeholder='…')}")
            folder = self.folder / hashlib.sha256(case.id.encode()).hexdigest()[:8]
            folder.mkdir(exist_ok=True)
            bench = ScriptBench(
                sides=[
                    replace(case.base, label=self.base.label),
                    replace(case.candidate, label=self.candidate.label),
                ],
                folder=folder,
                control=self.control,
                forks=self.forks,
            )
            pair = bench.pair((0, 1), number, NO_LIMIT_S)
            self.shared_writes.update(pair.shared_writes)
            found[case.id] = self._case(pair, number)
        return {"number": number, "at_s": time.time(), "cases": found}

    def about(self) -> dict[str, Any]:
        """What the document says of all cases, once they have been measured."""
        notes = []
        if self.shared_writes:
            names = ", ".join(sorted(self.shared_writes)[:3])
            notes.append(
                f"Both sides write to the same files ({names}), by whole paths: what one reads of "
                "them may be the other's. Name outputs relative to the working directory."
            )
        return {"preset": None, "device": self.device or "unknown", "notes": notes}

    def bars(self, case: ScriptCase) -> dict[str, dict[str, float]]:
        """None are known of a script."""
        raise ValueError(f"{case.id} has no bars")

    def _case(self, pair: ScriptPair, number: int) -> dict[str, Any]:
        if pair.errors:
            names = {str(which): name for which, name in enumerate(SIDES)}
            return {
                "errors": {
                    names[side]: self.explain(names[side], words)
                    for side, words in pair.errors.items()
                }
            }
        sides = dict(zip(SIDES, (pair.sides["0"], pair.sides["1"]), strict=True))
        self.device = self.device or sides[CANDIDATE].software.device
        return {
            "times": {
                "step": {name: one.steps_s for name, one in sides.items()},
                "control": {name: one.control_s for name, one in sides.items()},
                "planted": {},
            },
            "start": {
                name: {"start_up_s": one.start_up_s, "loss": _last(one)}
                for name, one in sides.items()
            },
            "is_cold": number == 0,
            "counts": {
                name: {"peak_bytes": one.peak_bytes, "graphs": one.graphs}
                for name, one in sides.items()
            },
            "compiled": any(one.graphs for one in sides.values()),
            "losses": {name: one.losses[:MOST_LOSSES] for name, one in sides.items()},
        }


def _last(side: SideOfPair) -> float | None:
    known = [loss for loss in side.losses[:MOST_LOSSES] if loss is not None]
    return known[-1] if known else None
