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
    """Over the rounds of a pair."""
    return effect_of(*rounds_in(pair, base, side))


def rounds_in(pair: ScriptPair, base: str, side: str) -> tuple[list[float], list[float]]:
    """Of both sides, the mean of the two orders of each round: who is second finds a warm cache."""
    return _rounds(pair.sides[base].steps_s), _rounds(pair.sides[side].steps_s)


def _rounds(times: Sequence[float]) -> list[float]:
    even = len(times) - len(times) % 2
    return [(a + b) / 2 for a, b in zip(times[:even:2], times[1:even:2], strict=True)] or [*times]


def means(one: Sequence[float], other: Sequence[float]) -> list[float]:
    return [(a + b) / 2 for a, b in zip(one, other, strict=True)]
