"""Which knobs take turns together, and what the turns of a pair of processes say."""

from __future__ import annotations

from collections.abc import Sequence

from mfubench.analysis.effect import Effect, effect_of
from mfubench.knobs.knob import Knob, Machine
from mfubench.knobs.script import Turned
from mfubench.sides.pair import ScriptPair

TOGETHER = 3
"""Knobs that take turns with one process of the script as it is."""
PLAIN, ALLOCATOR, COMPILED, LONG_SHOT = range(4)
"""Kinds of knobs, in the order in which they are tried."""


def kind_of(knob: Knob, machine: Machine) -> int:
    """What chooses the allocator is compared with the script as it is, all else with one whose
    allocator keeps its memory: processes then differ less."""
    if knob.long_shot:
        return LONG_SHOT
    turned = Turned().and_(knob, machine)
    if "compile" in turned.adjust:
        return COMPILED
    return ALLOCATOR if turned.chooses_allocator else PLAIN


def groups(knobs: Sequence[Knob], machine: Machine) -> list[tuple[int, tuple[Knob, ...]]]:
    """Those of one kind, so many at a time; one that compiles alone, as the others would wait."""
    found = []
    for kind in (PLAIN, ALLOCATOR, COMPILED, LONG_SHOT):
        alike = [knob for knob in knobs if kind_of(knob, machine) == kind]
        size = 1 if kind == COMPILED else TOGETHER
        found += [(kind, tuple(alike[i : i + size])) for i in range(0, len(alike), size)]
    return found


def effect_in(pair: ScriptPair, base: str, side: str) -> Effect:
    """Over the rounds of a pair."""
    return effect_of(*rounds_in(pair, base, side))


def rounds_in(pair: ScriptPair, base: str, side: str) -> tuple[list[float], list[float]]:
    """Of both sides, the mean of the two orders of each round: who is second finds a warm cache."""
    return _rounds(pair.sides[base].steps_s), _rounds(pair.sides[side].steps_s)


def _rounds(times: Sequence[float]) -> list[float]:
    even = len(times) - len(times) % 2
    return [(a + b) / 2 for a, b in zip(times[:even:2], times[1:even:2], strict=True)] or [*times]
