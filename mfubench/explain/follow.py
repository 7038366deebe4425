"""`mfubench explain --follow`: a log that is being written, a line each time it has grown."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mfubench.explain.account import RunAccount
from mfubench.explain.log import LogError, TrainingLog, read_log
from mfubench.explain.run import whole_number
from mfubench.show.units import format_duration, format_share, format_si

PAUSE_S: Final = 2.0
"""Between two looks at the file."""


def follow(
    path: Path,
    account_of: Callable[[TrainingLog], RunAccount],
    say: Callable[[str], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> TrainingLog:
    """Look at a log until its run has reached max_iters, or until Ctrl-C; gives the log as it is
    then. A log without an iteration yet is waited for.

    Raises LogError for a file that cannot be read.
    """
    size_bytes, found = -1, None
    try:
        while True:
            if (now_bytes := _size_bytes(path)) != size_bytes:
                size_bytes = now_bytes
                try:
                    found = read_log(path)
                except LogError as error:
                    say(f"waiting: {error}")
                else:
                    account = account_of(found)
                    say(status(account))
                    if is_over(account):
                        return found
            sleep(PAUSE_S)
    except KeyboardInterrupt:
        return read_log(path) if found is None else found


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise LogError(f"{path} cannot be read: {error.strerror or error}") from None


def is_over(account: RunAccount) -> bool:
    """Whether the last run of the log has reached its max_iters, where the log says them."""
    last = whole_number(account.run.settings, "max_iters")
    return last is not None and int(account.run.iters[-1]) >= last


def status(account: RunAccount) -> str:
    """Where a run is, in one line: iteration, step time, rate, MFU, time left."""
    run, median_s = account.run, account.times.median_s
    now, last = int(run.iters[-1]), whole_number(run.settings, "max_iters")
    parts = [f"iteration {now:,}" + (f" of {last:,}" if last is not None else "")]
    if median_s is not None:
        parts.append(f"{format_duration(median_s)} per step")
    if (achieved := account.achieved_flops_per_s) is not None:
        parts.append(format_si(achieved.low, "FLOP/s"))
    if account.mfu is not None:
        parts.append(f"MFU {format_share(account.mfu.low)}")
    if last is not None and median_s is not None and last > now:
        parts.append(f"about {format_duration((last - now) * median_s)} left")
    return " · ".join(parts)
