"""Which knobs take turns together, and what the turns of a pair of processes say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mfubench.analysis.effect import Effect, effect_of
from mfubench.knobs.knob import Knob
from mfubench.sides.pair import ScriptPair

TOGETHER = 3
"""Knobs that take turns with one process of the script as it is."""


def groups(knobs: Sequence[Knob], compiles: Callable[[Knob], bool]) -> list[tuple[Knob, ...]]:
    """So many at a time; one that compiles alone, as the others would wait for it."""
    plain = [knob for knob in knobs if not compiles(knob)]
    groups = [tuple(plain[i : i + TOGETHER]) for i in range(0, len(plain), TOGETHER)]
    return groups + [(knob,) for knob in knobs if compiles(knob)]


def effect_in(pair: ScriptPair, base: str, side: str) -> Effect:
    """Over turns, the mean of the two orders of each round: who is second finds a warm cache."""
    base_s, side_s = (pair.sides[name].steps_s for name in (base, side))
    return effect_of(_rounds(base_s), _rounds(side_s))


def _rounds(times: Sequence[float]) -> list[float]:
    even = len(times) - len(times) % 2
    return [(a + b) / 2 for a, b in zip(times[:even:2], times[1:even:2], strict=True)] or [*times]


def means(one: Sequence[float], other: Sequence[float]) -> list[float]:
    return [(a + b) / 2 for a, b in zip(one, other, strict=True)]
