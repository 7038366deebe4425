"""How many FLOPs per iteration nanoGPT must have counted to print the mfu that it printed.

nanoGPT (`train.py`, `GPT.estimate_mfu`) has for the dt of each printed iteration from the fifth on,

    mfu = FLOPs per iteration of one rank / dt / 312e12
    printed = mfu the first time, then 0.9 * printed before + 0.1 * mfu

so every printed value is a known weight times one unknown count. Two decimals of a percent bound it
from both sides, and all lines together bound it far better than one: 0.03 % alone is known to 17 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mfubench_model.conventions import A100_BF16_PEAK_FLOPS_PER_S

from mfubench.explain.run import UNSET_MFU_PERCENT, LoggedRun, whole_number

MFU_RESOLUTION_PERCENT: Final = 0.005
"""Half of the last printed decimal of mfu."""

_TIME_RESOLUTION_S: Final = 0.005e-3
"""Half of the last printed decimal of time."""

_FLOPS_PER_S_PER_PERCENT: Final = A100_BF16_PEAK_FLOPS_PER_S / 100
_ROUNDING: Final = 1 + 1e-9
_MOST_LINES: Final = 20_000
"""The first lines of a run tell as much as all of them, and a log may have millions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlopsRange:
    """What the printed mfu allow."""

    low_flops: float
    high_flops: float
    """FLOPs per iteration of one rank, by nanoGPT's count; low is 0 where every mfu is 0.00 %."""
    lines: int
    """Printed values that went into it."""
    consistent: bool
    """False where no single count fits all lines; low and high are then the last line's."""

    def allows(self, flops: float) -> bool:
        """Whether nanoGPT may have counted that many."""
        return self.consistent and self.low_flops <= flops <= self.high_flops


def flops_from_mfu(run: LoggedRun) -> FlopsRange | None:
    """The range of FLOPs per iteration that the printed mfu and times allow, None without any.

    With nanoGPT's README run for a CPU (12 sequences of 64 tokens, 3.97e9 by nanoGPT's count) a
    first mfu of 0.03 % at 40 ms allows 3.1e9 to 4.4e9; 2000 lines allow a range of 0.03 %.
    """
    low, high, lines = 0.0, math.inf, 0
    window = (0.0, math.inf)
    for window in _windows(run):
        low, high, lines = max(low, window[0]), min(high, window[1]), lines + 1
    if lines == 0:
        return None
    consistent = low <= high
    if not consistent:
        low, high = window
    return FlopsRange(low_flops=low, high_flops=high, lines=lines, consistent=consistent)


def _windows(run: LoggedRun) -> Iterator[tuple[float, float]]:
    """What each printed value allows: printed = share * start + FLOPs * weight / 312e12.

    `start` is the first printed value after which no line is missing, `share` what is left of it.
    Where nanoGPT's average begins in the log, nothing of it was there before: share is 0.
    """
    interval = whole_number(run.settings, "log_interval") or run.log_interval
    start: float | None = None
    share = weight_low = weight_high = 0.0  # weights in 1/s
    before_iter, was_unset = -interval - 1, False
    columns = (run.iters, run.times_s, run.mfu_percent)
    for iteration, dt_s, percent in zip(
        *(column[:_MOST_LINES].tolist() for column in columns), strict=True
    ):
        follows, before_iter = iteration - before_iter == interval, iteration
        begins, was_unset = follows and was_unset, percent == UNSET_MFU_PERCENT
        if was_unset or not math.isfinite(percent) or not dt_s > 2 * _TIME_RESOLUTION_S:
            start = None
            continue
        slow, fast = 1 / (dt_s + _TIME_RESOLUTION_S), 1 / (dt_s - _TIME_RESOLUTION_S)
        if begins:
            start, share, weight_low, weight_high = 0.0, 0.0, slow, fast
        elif follows and start is not None:
            share *= 0.9
            weight_low, weight_high = 0.9 * weight_low + 0.1 * slow, 0.9 * weight_high + 0.1 * fast
        else:
            start, share, weight_low, weight_high = percent, 1.0, 0.0, 0.0
            continue
        half = MFU_RESOLUTION_PERCENT
        least, most = (
            percent - half - share * (start + half),
            percent + half - share * (start - half),
        )
        yield (
            max(0.0, least * _FLOPS_PER_S_PER_PERCENT / weight_high / _ROUNDING),
            max(0.0, most * _FLOPS_PER_S_PER_PERCENT / weight_low * _ROUNDING),
        )
