"""Do two sides learn the same? Their losses, step by step, from the same data and seed.

A side is compared with its own repetitions first. One that repeats bit for bit and differs from a
reference that does so too calculates something else: a learning rate that differs by 0.1 % is
seen, and the same code never is. Rounding is a reason to differ only where the sides run on other
software: another torch, another number of threads, compiled code. One that does not repeat is
called not deterministic, with how far it is from itself and from the reference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mfubench.compare.document import LossVerdict
from mfubench.sides.pair import Software

Losses = Sequence[float | None]
ROUNDING = 1e-5
"""Relative, times the square root of the steps: float32 kernels that add in another order."""
OTHER_START = 1e-3
"""Losses of the first step that are farther apart are of other data, weights or seeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """Where and how far two runs of losses part."""

    step: int
    """Counted from 1."""
    largest_ratio: float
    """The largest relative difference; infinite where one loss is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossFinding:
    """What the losses of a side say."""

    verdict: LossVerdict
    words: str
    parting: Parting | None = None


def parting(one: Losses, other: Losses) -> Parting | None:
    """Where two runs part, over the steps that both have; None where they are equal bit for bit.

    >>> parting([4.0, 3.0, 2.0], [4.0, 3.0]) is None
    True
    >>> parting([4.0, 2.0], [4.0, 3.0])
    Parting(step=2, largest_ratio=0.3333333333333333)
    """
    ratios = [_ratio(a, b) for a, b in zip(one, other, strict=False)]
    first = next((step for step, ratio in enumerate(ratios, 1) if ratio), None)
    return None if first is None else Parting(step=first, largest_ratio=max(ratios))


def _ratio(a: float | None, b: float | None) -> float:
    if a == b:
        return 0.0
    if a is None or b is None:
        return math.inf
    return abs(a - b) / max(abs(a), abs(b))


def of_reference(runs: Sequence[Losses]) -> LossFinding:
    """A side against its own repetitions."""
    known = [run for run in runs if any(loss is not None for loss in run)]
    if not known:
        return LossFinding(verdict="unknown", words="no loss was seen")
    steps = min(map(len, known))
    if len(known) < 2:
        return LossFinding(verdict="unknown", words=f"one run of {steps} steps: not repeated")
    if own := _farthest(known[:1], known[1:]):
        return LossFinding(
            verdict="not deterministic",
            words=f"not deterministic: parts from its own repetition at {_where(own)}",
            parting=own,
        )
    words = f"repeats bit for bit ({steps} steps, {len(known)} runs)"
    return LossFinding(verdict="same", words=words)


def of_side(
    runs: Sequence[Losses],
    reference: Sequence[Losses],
    software: Software | None,
    reference_software: Software | None,
) -> LossFinding:
    """A side against the reference, over the steps that all their runs have."""
    own, other = of_reference(runs), of_reference(reference)
    if not _has_loss(runs) or not _has_loss(reference):
        return LossFinding(verdict="unknown", words="no loss was seen")
    if any(parting(a, b) is None for a in runs for b in reference):
        # One run of each that is bit for bit the same: the code is, whatever the others did.
        steps = min(len(run) for run in (*runs, *reference))
        return LossFinding(verdict="same", words=f"the same, bit for bit ({steps} steps)")
    between = _farthest(runs, reference)
    assert between is not None
    if "not deterministic" in (own.verdict, other.verdict):
        words = f"parts from the reference at {_where(between)}"
        words += f", from itself at {_where(own.parting)}" if own.parting else ""
        words += f"; the reference from itself at {_where(other.parting)}" if other.parting else ""
        return LossFinding(
            verdict="not deterministic", words=f"not deterministic: {words}", parting=between
        )
    steps = min(len(run) for run in (*runs, *reference))
    if software != reference_software and between.largest_ratio <= ROUNDING * math.sqrt(steps):
        words = f"the same within rounding: part at {_where(between)}"
        return LossFinding(verdict="same within rounding", words=words, parting=between)
    words = f"different: part at {_where(between)}"
    first = _ratio(runs[0][0], reference[0][0])
    if first > OTHER_START:
        words += "; they start apart, so data, seed or model differ"
    elif between.largest_ratio <= ROUNDING:
        words += ", of the size of rounding"
    return LossFinding(verdict="different", words=words, parting=between)


def _has_loss(runs: Sequence[Losses]) -> bool:
    return any(loss is not None for run in runs for loss in run)


def _farthest(some: Sequence[Losses], others: Sequence[Losses]) -> Parting | None:
    """The earliest step and the largest difference of any two runs."""
    found = [p for a in some for b in others if (p := parting(a, b)) is not None]
    if not found:
        return None
    return Parting(
        step=min(p.step for p in found), largest_ratio=max(p.largest_ratio for p in found)
    )


def _where(one: Parting) -> str:
    if not math.isfinite(one.largest_ratio):
        return f"step {one.step}, where a loss is missing or not finite"
    return f"step {one.step}, by {size(one.largest_ratio)} at most"


def size(ratio: float) -> str:
    """A relative difference.

    >>> size(0.0123), size(3.2e-7)
    ('1.2 %', '3e-07')
    """
    return f"{ratio * 100:.2g} %" if ratio >= 1e-4 else f"{ratio:.0e}"
