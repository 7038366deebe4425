"""What a knob did: the ratio of tokens per second, its interval, and a verdict."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from mfubench.analysis.paired import CONFIDENCE, paired_ratio
from mfubench.results.outcomes import Worth

HELPS: Final = "helps"
HURTS: Final = "hurts"
NO_DIFFERENCE: Final = "no difference"
UNCLEAR: Final = "unclear"
WORTH_RATIO = 0.02
"""A change of speed below 2 % is not worth a change of set-up."""


class Effect(Struct, frozen=True, kw_only=True):
    """Tokens per second with the knob over without, from pairs."""

    ratio: float
    low: float
    high: float
    """95 % interval: of the median ratio over pairs of turns, or of the mean over processes."""
    pairs: int
    processes: int = 1
    """Pairs of processes. With one, what differs from process to process is not in the interval."""
    verdict: Worth
    """helps, hurts, no difference (within `beyond`), or unclear: more pairs would tell."""
    beyond: float
    """The largest change that the interval leaves possible, as a ratio: 0.03 is 3 % either way."""

    @property
    def in_words(self) -> str:
        """The verdict; of no difference, what is certain of it."""
        beyond = f" beyond {self.beyond * 100:.1f} %" if self.verdict == NO_DIFFERENCE else ""
        return self.verdict + beyond


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
    return _effect(paired.ratio, paired.low, paired.high, pairs=paired.pairs)


def effect_over_processes(
    turns: Sequence[tuple[Sequence[float], Sequence[float]]],
    *,
    error: float = (1 - CONFIDENCE) / 2,
) -> Effect:
    """The effect over several pairs of processes, each with its paired seconds per token.

    Two processes of one configuration differ (by 2.4 % on the machine of docs/knobs.md, where
    their allocators end up in different states), so the median log-ratio of a pair of processes is
    the unit, and the interval is Student's over pairs. Each bound is wrong with probability `error`
    at most: one of several looks is given a part of it (`analysis/sequential.py`).

    >>> one = ([2.0, 2.1, 1.9], [1.0, 1.05, 0.95])
    >>> e = effect_over_processes([one, one, ([2.02] * 3, [1.0] * 3)])
    >>> e.verdict, e.processes, e.pairs
    ('helps', 3, 9)

    Raises ValueError below two pairs of processes.
    """
    if len(turns) < 2:
        raise ValueError(f"an interval over processes needs 2 pairs of them, got {len(turns)}")
    logs = [log_ratio(base, knob) for base, knob in turns]
    return effect_of_logs(
        logs,
        turns=sum(len(base) for base, _ in turns),
        spread=statistics.stdev(logs),
        freedom=len(logs) - 1,
        share=1 / len(logs),
        error=error,
    )


def log_ratio(base_s_per_token: Sequence[float], knob_s_per_token: Sequence[float]) -> float:
    """What a pair of processes says, above 0 where the knob is faster: the median over its turns.

    >>> round(log_ratio([1.1, 1.2, 1.0], [1.0, 1.0, 1.0]), 4)
    0.0953
    """
    pairs = zip(base_s_per_token, knob_s_per_token, strict=True)
    return statistics.median(math.log(base / knob) for base, knob in pairs)


def effect_of_logs(
    logs: Sequence[float],
    *,
    turns: int,
    spread: float,
    freedom: int,
    share: float,
    error: float = (1 - CONFIDENCE) / 2,
) -> Effect:
    """The effect of what each pair of processes says (`log_ratio`), with Student's interval.

    `spread` is the standard deviation of single pairs, known with so many degrees of freedom, and
    `share` the part of its square that is left in the mean: 1 / n of n pairs.

    >>> e = effect_of_logs([0.05, 0.07], turns=12, spread=0.01, freedom=20, share=0.5)
    >>> round(e.ratio, 3), round(e.low, 3), round(e.high, 3), e.verdict
    (1.062, 1.046, 1.078, 'helps')
    """
    from scipy import special  # a page that only shows effects need not load it

    middle = math.fsum(logs) / len(logs)
    reach = float(special.stdtrit(freedom, 1 - error)) * spread * math.sqrt(share)
    ratio, low, high = (math.exp(value) for value in (middle, middle - reach, middle + reach))
    return _effect(ratio, low, high, pairs=turns, processes=len(logs))


def _effect(ratio: float, low: float, high: float, *, pairs: int, processes: int = 1) -> Effect:
    verdict: Worth
    if low > 1 and ratio >= 1 + WORTH_RATIO:
        verdict = HELPS
    elif high < 1 and ratio <= 1 / (1 + WORTH_RATIO):
        verdict = HURTS
    elif low >= 1 / (1 + WORTH_RATIO) and high <= 1 + WORTH_RATIO:
        verdict = NO_DIFFERENCE
    else:
        verdict = UNCLEAR
    return Effect(
        ratio=ratio,
        low=low,
        high=high,
        pairs=pairs,
        processes=processes,
        verdict=verdict,
        beyond=max(high - 1, 1 - low),
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
