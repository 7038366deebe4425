"""How long one call takes."""

from __future__ import annotations

import time
from collections.abc import Callable


def time_s(run: Callable[[], object]) -> float:
    """Seconds that one call of `run` took on the host. The call itself waits for its device."""
    start_s = time.perf_counter()
    run()
    return time.perf_counter() - start_s
