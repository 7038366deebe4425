"""The pairs of a self-test, case by case: what was measured, and what was planted in it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mfubench.gate.rules import policy
from mfubench.gate.rules.document import Pair, PlantedTurns, Turns

NO_PLANT = "0"
"""The name of no planted change."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CaseTrials:
    """The pairs of one case, by planted share of extra work; one is equal to itself alone."""

    id: str
    change: Mapping[str, Sequence[float]]
    """Measured log-ratio per pair."""
    truth: Mapping[str, Sequence[float]]
    """What was planted, as a log-ratio, timed by itself in the same turns."""
    control: Sequence[float]
    base_s: Sequence[Sequence[float]]
    """Step times of each turn of the base, per pair: for the rivals."""
    candidate_s: Mapping[str, Sequence[Sequence[float]]]


def trials_of(pairs: Sequence[Pair]) -> list[CaseTrials]:
    """The trials in stored pairs, whole cases only."""
    ids = dict.fromkeys(case_id for pair in pairs for case_id in pair.cases)
    found = []
    for case_id in ids:
        measured = [pair.cases[case_id].times for pair in pairs if case_id in pair.cases]
        cases = [times for times in measured if times is not None]
        turns = [{NO_PLANT: _unplanted(case.step), **case.planted} for case in cases]
        shares = list(turns[0]) if turns else [NO_PLANT]
        found.append(
            CaseTrials(
                id=case_id,
                change={s: [policy.log_ratio(t[s].step, t[s].base) for t in turns] for s in shares},
                truth={s: [_truth(t[s]) for t in turns] for s in shares},
                control=[policy.log_ratio(c.control.candidate, c.control.base) for c in cases],
                base_s=[case.step.base for case in cases],
                candidate_s={s: [t[s].step for t in turns] for s in shares},
            )
        )
    return found


def _unplanted(step: Turns) -> PlantedTurns:
    return PlantedTurns(base=step.base, step=step.candidate, extra=[0.0] * len(step.candidate))


def _truth(planted: PlantedTurns) -> float:
    return statistics.median(
        -math.log1p(-extra / step) for step, extra in zip(planted.step, planted.extra, strict=True)
    )
