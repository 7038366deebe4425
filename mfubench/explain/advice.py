"""What must be known to read a log's numbers, and which settings are worth measuring.

Nothing here says that a change helps. A log shows where time went, not what would have happened
with another setting; only a measurement in pairs does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from mfubench.explain.account import RunAccount
from mfubench.explain.run import whole_number

_NOTABLE_EVALUATION_SHARE: Final = 0.03
_NOTABLE_STALL_SHARE: Final = 0.01
_LITTLE_WORK_TOKENS: Final = 8192
"""Below this many tokens of one rank per iteration a batch of twice the size is an obvious try."""
_NOTABLE_FIRST_ITERATIONS: Final = 50
_LEAST_STALLS_FOR_A_PATTERN: Final = 3


def caveats(account: RunAccount) -> Iterator[str]:
    """What limits the numbers of one run, a sentence each."""
    run = account.run
    on_cuda = "cuda" in run.settings.get("device", "cuda")
    interval = run.log_interval
    if interval > 1:
        yield (
            f"A line comes every {interval} iterations, and its time is of that one iteration "
            f"alone, not of {interval}."
        )
    if on_cuda:
        then = "its wait then falls into the next line's time"
        if interval > 1:
            then = "with iterations between two lines it may run ahead, and a time be too short"
        yield (
            "nanoGPT takes the time before it waits for the loss. On a GPU work may still be "
            f"queued at that point: {then}."
        )
    elif account.peak_flops_per_s is not None:
        device = run.settings["device"]
        yield f"The log says device = {device}; the MFU holds only if that is the device you named."
    if run.ranks > 1 or account.sizes.ranks > 1:
        yield (
            f"{account.sizes.ranks} ranks shared an iteration; FLOP/s and MFU are of one of them."
        )
    if not run.from_the_start:
        yield "The run's beginning is not in the log, so the first step's cost is not known."
    if run.unusable_times:
        yield (
            f"Printed times that are zero, negative or undefined: {run.unusable_times:,}. They are "
            "in no figure."
        )
    if run.not_finite_losses:
        yield (
            f"Losses that are nan or infinite: {run.not_finite_losses:,}, the first at iteration "
            f"{run.first_not_finite_iter:,}."
        )
    if run.other_rank_lines:
        yield f"Lines that are other ranks' copies, left out: {run.other_rank_lines:,}."
    if account.printed is not None and not account.printed.consistent:
        yield (
            "No single count of FLOPs fits every printed mfu and time: lines are missing, edited "
            "or from several runs, so the mfu cannot check the sizes."
        )


def worth_measuring(account: RunAccount) -> Iterator[str]:
    """Settings to try, each with what in the log points at it."""
    run, times = account.run, account.times
    on_cuda = "cuda" in run.settings.get("device", "cuda")
    if (times.evaluation_share or 0.0) >= _NOTABLE_EVALUATION_SHARE:
        yield (
            "a larger eval_interval or fewer eval_iters: evaluations and checkpoints took "
            f"{times.evaluation_share:.0%} of the time".replace("%", " %")
        )
    if run.log_interval == 1 and len(run.iters) > 1:
        yield "log_interval=10: a printed line waits for the loss, and here every iteration has one"
    tokens = run.tokens_per_iter
    if tokens is not None and tokens / account.sizes.ranks < _LITTLE_WORK_TOKENS:
        yield (
            f"a larger batch_size: {tokens // account.sizes.ranks:,} tokens are little work for "
            "the fixed cost of an iteration (compare tokens per second, not milliseconds)"
        )
    if run.settings.get("compile") == "False" or (run.has_header and not run.compiled):
        yield "compile=True, counting the time that compiling takes against what it wins"
    if on_cuda and run.settings.get("dtype") == "float32":
        yield "dtype=bfloat16: the log says float32"
    if on_cuda and run.fused_adamw is False:
        yield "a torch with fused AdamW: the log says it was not used"
    if times.median_s and (times.first_extra_s or 0) > _NOTABLE_FIRST_ITERATIONS * times.median_s:
        saved = round((times.first_extra_s or 0.0) / times.median_s)
        yield (
            f"the same run without compile, if it is short: the first step cost {saved:,} plain "
            "iterations"
        )
    yield from _stalls(account)
    if times.drift is not None and times.drift.notable:
        yield (
            "the run again after a pause and with nothing beside it: the step time drifted, as "
            "heat or other programs make it"
        )


def _stalls(account: RunAccount) -> Iterator[str]:
    times = account.times
    if times.median_s is None or not times.stalls:
        return
    if (every := stall_period(account)) is not None:
        yield (
            f"eval_interval: the stalls come at multiples of {every} iterations, as evaluations do "
            "whose lines were cut out of the log"
        )
    elif times.stall_excess_s > _NOTABLE_STALL_SHARE * times.median_s * times.plain_iterations:
        yield "what else ran at the stalls: another program, a slow disk, memory running out"


def stall_period(account: RunAccount) -> int | None:
    """The distance at which stalls recur when they look like evaluations, else None.

    They do when the log has no `step` lines and no known eval_interval, and the stalls are every
    multiple of one number and no other iteration.
    """
    run, times = account.run, account.times
    iters = np.asarray(times.stall_iters, dtype=np.int64)
    if (
        run.evaluations_printed
        or whole_number(run.settings, "eval_interval")
        or len(iters) < _LEAST_STALLS_FOR_A_PATTERN
    ):
        return None
    period = int(np.gcd.reduce(iters))
    multiples = int(np.count_nonzero(run.iters[1:] % period == 0)) if period else 0
    return period if period > run.log_interval and multiples == len(iters) else None
