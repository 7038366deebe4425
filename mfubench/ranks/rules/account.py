"""Efficiency = contention x exposed communication x skew, from the turns of all ranks.

With t_alone, t_beside and t_training the seconds of a step and w what ranks wait for the slowest:

    efficiency = t_alone / t_training
    contention = t_alone / t_beside
    communication_exposed = t_beside / (t_training - w)
    skew = (t_training - w) / t_training

so their product is the efficiency, whatever was measured. Strong scaling has a fourth part, what
the smaller batch per rank costs by itself: t_whole / (N t_alone), which efficiency contains.

A cycle has one turn of every kind and gives one value of each; the figures are centres over cycles
(Hodges and Lehmann's estimate) with exact signed-rank intervals, so that one busy moment of the
machine moves them little. `communication_exposed` is the quotient of the other centres, so that
the product is exact; its interval is that of its own values, widened to hold it where need be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from mfubench.analysis import signed_rank
from mfubench.ranks.rules.turns import (
    ALONE,
    BESIDE,
    SILENT,
    TRAINING,
    WHOLE,
    Kind,
    RankReport,
    RanksError,
    Turn,
)
from mfubench.results.ranks import Factor

LEAST_CYCLES = 6
"""Fewer give no 95 % interval by signed ranks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """A part of the step in seconds, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What the turns say of a case."""

    efficiency: Factor
    contention: Factor
    communication_exposed: Factor
    skew: Factor
    smaller_batch: Factor | None
    step_s: float
    exposed: Seconds
    """Of communication, by ablation, without waiting."""
    waiting: Seconds
    wrapper_s: float
    hidden_s: float | None
    counters_exposed_s: float | None
    cycles: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """The seconds of one cycle, means over ranks."""

    alone_s: float
    alone_beside_s: float
    """The same rank beside the others."""
    beside_s: float
    silent_s: float
    training_s: float
    waiting_s: float
    whole_s: float | None


def account_of(reports: Sequence[RankReport], *, scaling: str = "weak") -> Account:
    """The account of a case. Raises RanksError where whole cycles are too few for an interval."""
    ranks = len(reports)
    cycles = [c for n in _cycle_numbers(reports) if (c := cycle_of(reports, n)) is not None]
    if len(cycles) < LEAST_CYCLES:
        raise RanksError(
            f"{len(cycles)} cycles of turns were finished and {LEAST_CYCLES} are needed for an "
            "interval; give more time (--sweep default or full, --budget)"
        )
    contention = _centre(cycles, lambda c: c.alone_s / c.alone_beside_s)
    skew = _centre(cycles, lambda c: (c.training_s - c.waiting_s) / c.training_s)
    smaller = None
    if scaling == "strong":
        smaller = _centre(cycles, lambda c: (c.whole_s or math.nan) / (ranks * c.alone_s))

    def batch(c: Cycle) -> float:
        return 1.0 if scaling != "strong" else (c.whole_s or math.nan) / (ranks * c.alone_s)

    efficiency = _centre(
        cycles, lambda c: batch(c) * c.alone_s / c.alone_beside_s * c.beside_s / c.training_s
    )
    own = _centre(cycles, lambda c: c.beside_s / (c.training_s - c.waiting_s))
    others = contention.value * skew.value * (smaller.value if smaller else 1.0)
    value = efficiency.value / others
    communication = Factor(value=value, low=min(own.low, value), high=max(own.high, value))
    turns = [t for report in reports for t in report.turns if t.kind == TRAINING]
    return Account(
        efficiency=efficiency,
        contention=contention,
        communication_exposed=communication,
        skew=skew,
        smaller_batch=smaller,
        step_s=median(c.training_s for c in cycles),
        exposed=_seconds([c.training_s - c.silent_s - c.waiting_s for c in cycles]),
        waiting=_seconds([c.waiting_s for c in cycles]),
        wrapper_s=signed_rank.centre([c.silent_s - c.beside_s for c in cycles]),
        hidden_s=_middle([t.hidden_s for t in turns]),
        counters_exposed_s=_middle([t.counters_exposed_s for t in turns]),
        cycles=len(cycles),
    )


def _cycle_numbers(reports: Sequence[RankReport]) -> list[int]:
    return sorted({turn.cycle for report in reports for turn in report.turns})


def cycle_of(reports: Sequence[RankReport], number: int) -> Cycle | None:
    """The seconds of a cycle; None where a rank has not finished it."""
    alone = [(r, t) for r in reports if (t := r.of(ALONE, number)) is not None]
    beside, silent, training = (
        [t for r in reports if (t := r.of(kind, number)) is not None]
        for kind in (BESIDE, SILENT, TRAINING)
    )
    if not alone or not len(beside) == len(silent) == len(training) == len(reports):
        return None
    waits = waits_of(reports, number)
    if waits is None:
        return None
    wholes = [t for r in reports if (t := r.of(WHOLE, number)) is not None]
    of_alone = [t.step_s for r, _ in alone if (t := r.of(BESIDE, number)) is not None]
    return Cycle(
        alone_s=fmean(t.step_s for _, t in alone),
        alone_beside_s=fmean(of_alone),
        beside_s=fmean(t.step_s for t in beside),
        silent_s=fmean(t.step_s for t in silent),
        training_s=fmean(t.step_s for t in training),
        waiting_s=fmean(w for of_rank in waits for w in of_rank),
        whole_s=fmean(t.step_s for t in wholes) if wholes else None,
    )


def arrivals_of(reports: Sequence[RankReport], number: int) -> list[list[float]] | None:
    """When each rank's last gradient was ready, by rank and step, on rank 0's clock; None where
    ranks did not note as many."""
    found = []
    for report in reports:
        turn = report.of(TRAINING, number)
        if turn is None or not turn.arrived_s:
            return None
        offset_s = offset_of(report, turn)
        found.append([at - offset_s for at in turn.arrived_s])
    return found if len({len(one) for one in found}) == 1 else None


def offset_of(report: RankReport, turn: Turn) -> float:
    """A rank's clock less rank 0's at a turn: two hosts' clocks drift apart by milliseconds in a
    minute, so that it is measured anew in each cycle."""
    return report.clock_offset_s if turn.clock_offset_s is None else turn.clock_offset_s


def waits_of(reports: Sequence[RankReport], number: int) -> list[list[float]] | None:
    """What each rank waited for the slowest, by rank and step: the latest arrival less its own.

    Where a strategy has no single moment at which gradients are ready (FSDP2 communicates all
    along), it is the slowest rank's silent step less the rank's own: what it would wait if every
    step ended together.
    """
    arrivals = arrivals_of(reports, number)
    if arrivals is not None:
        latest = [max(step) for step in zip(*arrivals, strict=True)]
        return [[last - at for last, at in zip(latest, one, strict=True)] for one in arrivals]
    silent = [turn.steps_s for r in reports if (turn := r.of(SILENT, number)) is not None]
    if len(silent) != len(reports) or len({len(one) for one in silent}) != 1:
        return None
    slowest = [max(step) for step in zip(*silent, strict=True)]
    return [[last - own for last, own in zip(slowest, one, strict=True)] for one in silent]


def _centre(cycles: Sequence[Cycle], value_of: Callable[[Cycle], float]) -> Factor:
    logs = [math.log(value_of(cycle)) for cycle in cycles]
    low, high = signed_rank.interval(logs)
    return Factor(value=math.exp(signed_rank.centre(logs)), low=math.exp(low), high=math.exp(high))


def _seconds(values: Sequence[float]) -> Seconds:
    low, high = signed_rank.interval(values)
    return Seconds(value=signed_rank.centre(values), low=low, high=high)


def _middle(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def middle_of(report: RankReport, kind: Kind) -> float | None:
    """The middle of a rank's turns of a kind, seconds per step."""
    return _middle([turn.step_s for turn in report.turns if turn.kind == kind])
