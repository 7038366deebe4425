"""The host's clock as all measuring code reads it, and how long one call takes."""

from __future__ import annotations

import time
from collections.abc import Callable

clock_s: Callable[[], float] = time.perf_counter
"""The clock itself. A test may put another one here: whatever is measured reads it by `now_s`."""


def now_s() -> float:
    """Seconds on the host's clock; only differences mean something."""
    return clock_s()


def time_s(run: Callable[[], object]) -> float:
    """Seconds that one call of `run` took on the host. The call itself waits for its device."""
    start_s = now_s()
    run()
    return now_s() - start_s
