"""What a search found for a script against the script as it is typed, in fresh processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mfubench.advise.advice import Verification
from mfubench.analysis.effect import UNCLEAR, effect_over_processes
from mfubench.analysis.sequential import errors_of_looks
from mfubench.sides.bench import TooShortError
from mfubench.sides.pair import ScriptPair

PAIRS, LEAST_PAIRS, MOST_PAIRS = 6, 3, 12
"""Of an unclear one as many as the most, where the budget had time for them from the start."""
SIDES = 3
"""The script as it is, again, and with everything: the first two are the control."""


def verified(
    take_pair: Callable[[], ScriptPair],
    *,
    left_s: Callable[[], float],
    pair_s: Callable[[], float],
    say: Callable[[str], None],
) -> Verification | None:
    """A look after so many pairs as usual, and one at the end where that is later; None where
    there are not even two pairs. `pair_s` is what a pair takes, about."""
    planned = max(PAIRS, min(MOST_PAIRS, int(left_s() / max(pair_s(), 0.1))))
    first: Verification | None = None
    pairs: list[ScriptPair] = []
    while len(pairs) < planned:
        if len(pairs) >= LEAST_PAIRS and left_s() < pair_s():
            break
        say(f"everything together, in fresh processes: {len(pairs) + 1}")
        try:
            pair = take_pair()
        except TooShortError:
            break
        if {"0", "1", "2"} <= set(pair.sides):
            pairs.append(pair)
        elif pair.errors:
            return None
        if first is None and len(pairs) == PAIRS < planned:
            first = verification_of(pairs, error=errors_of_looks([PAIRS, planned])[0])
            if first.effect.verdict != UNCLEAR:
                return first
    if first is not None and len(pairs) > PAIRS:
        return verification_of(pairs, error=errors_of_looks([PAIRS, len(pairs)])[1])
    return first or (verification_of(pairs) if len(pairs) > 1 else None)


def verification_of(pairs: Sequence[ScriptPair], *, error: float = 0.025) -> Verification:
    """Of pairs with the script as it is in sides 0 and 1, and what was found in side 2; each bound
    is wrong with probability `error` at most."""
    turns = [[pair.sides[name].steps_s for name in "012"] for pair in pairs]
    found = [(_means(one, other), with_all) for one, other, with_all in turns]
    return Verification(
        effect=effect_over_processes(found, error=error),
        control=effect_over_processes([(one, other) for one, other, _ in turns]),
    )


def _means(one: Sequence[float], other: Sequence[float]) -> list[float]:
    return [(a + b) / 2 for a, b in zip(one, other, strict=True)]
