"""What a knob did: the ratio of tokens per second, its interval, and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mfubench.analysis.paired import paired_ratio

HELPS, HURTS, NO_DIFFERENCE, UNCLEAR = "helps", "hurts", "no difference", "unclear"
WORTH_RATIO = 0.02
"""A change of speed below 2 % is not worth a change of set-up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Tokens per second with the knob over without, from pairs."""

    ratio: float
    low: float
    high: float
    """95 % interval of the median ratio over pairs."""
    pairs: int
    verdict: str
    """helps, hurts, no difference (within `beyond`), or unclear: more pairs would tell."""
    beyond: float
    """The largest change that the interval leaves possible, as a ratio: 0.03 is 3 % either way."""


def effect_of(base_s_per_token: Sequence[float], knob_s_per_token: Sequence[float]) -> Effect:
    """The effect of a knob from paired seconds per token.

    helps or hurts: the whole interval is on one side of no change, and the median change is worth
    it (2 %). no difference: the whole interval is within 2 % of no change. unclear: neither.

    >>> effect_of([2.0, 2.1, 1.9, 2.0], [1.0, 1.05, 0.95, 1.0]).verdict
    'helps'
    >>> effect_of([1.0, 1.01, 0.99, 1.0], [1.0, 1.005, 0.992, 1.0]).verdict
    'no difference'
    """
    paired = paired_ratio(base_s_per_token, knob_s_per_token)
    if paired.low > 1 and paired.ratio >= 1 + WORTH_RATIO:
        verdict = HELPS
    elif paired.high < 1 and paired.ratio <= 1 / (1 + WORTH_RATIO):
        verdict = HURTS
    elif paired.low >= 1 / (1 + WORTH_RATIO) and paired.high <= 1 + WORTH_RATIO:
        verdict = NO_DIFFERENCE
    else:
        verdict = UNCLEAR
    return Effect(
        ratio=paired.ratio,
        low=paired.low,
        high=paired.high,
        pairs=paired.pairs,
        verdict=verdict,
        beyond=max(paired.high - 1, 1 - paired.low),
    )


def break_even_iters(start_up_s: float, base_iter_s: float, knob_iter_s: float) -> float | None:
    """Iterations after which a start-up cost is won back; None where a step is not faster.

    >>> break_even_iters(20.0, 0.040, 0.036)
    5000.0
    >>> break_even_iters(20.0, 0.040, 0.041) is None
    True
    """
    saved_s = base_iter_s - knob_iter_s
    return None if saved_s <= 0 else round(start_up_s / saved_s, 1)


def net_ratio(start_up_s: float, base_iter_s: float, knob_iter_s: float, iters: int) -> float:
    """Speed over `iters` iterations with the start-up in it, over the baseline's.

    >>> net_ratio(20.0, 0.040, 0.030, 2000)
    1.0
    """
    return round(iters * base_iter_s / (iters * knob_iter_s + start_up_s), 6)
