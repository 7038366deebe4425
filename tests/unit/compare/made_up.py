"""Comparisons without processes: pairs that are made up from random numbers."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from mfubench.compare.comparison import Comparing
from mfubench.pairs.journal import PairJournal
from mfubench.sides.pair import ScriptPair, SideOfPair, Software
from mfubench.sides.spec import SideSpec

SOFTWARE = Software(python="3", torch="2", threads=1, device="cpu", is_compiled=False)
LOSSES: list[float | None] = [4.0, 3.9, 3.8, 3.7]


def process(step_s: float, **fields: object) -> SideOfPair:
    """A process whose turns all took the same."""
    return SideOfPair(
        **{
            "start_up_s": 2.0,
            "compile_s": None,
            "started_alone": False,
            "tokens_per_step": 100,
            "workers": 0,
            "software": SOFTWARE,
            "steps_s": [step_s] * 4,
            "control_s": [0.003] * 4,
            "losses": list(LOSSES),
            "peak_bytes": 1000,
            "writes": [],
            **fields,
        }  # type: ignore[arg-type]
    )


class MadeUpBench:
    """Pairs in which each side differs from the reference by `changes`, and by chance."""

    def __init__(
        self,
        changes: Sequence[float],
        *,
        spread: float = 0.005,
        seed: int = 0,
        pair_s: float = 10.0,
        spoil: Callable[[ScriptPair], None] = lambda pair: None,
    ) -> None:
        labels = ["reference", *(f"side {n}" for n in range(1, len(changes) + 1))]
        self.sides = [SideSpec(label=label, words=("train.py",), cwd=Path()) for label in labels]
        self.is_steadied = True
        self.asked: list[list[int]] = []
        self._changes, self._spread, self._pair_s, self._spoil = changes, spread, pair_s, spoil
        self._random = random.Random(seed)

    def pair(self, wanted: Sequence[int], number: int, left_s: float) -> ScriptPair:
        self.asked.append(list(wanted))
        factors = {0: 1.0}
        for side in wanted[1:]:
            chance = self._random.gauss(0, self._spread)
            factors[side] = (1 + self._changes[side - 1]) * math.exp(chance)
        pair = ScriptPair(
            number=number,
            at_s=0.0,
            seconds=self._pair_s,
            sides={
                str(side): process(0.04 * factors[side], started_alone=number == 0)
                for side in wanted
            },
            errors={},
        )
        self._spoil(pair)
        return pair


def comparing(
    bench: MadeUpBench, *, budget_s: float = 120.0, path: Path | None = None
) -> Comparing:
    """A comparison of a made-up bench, at a precision of 1 %."""
    return Comparing(bench, PairJournal(path), 0.01, budget_s)
