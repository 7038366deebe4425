"""A kernel that is the same whoever had the turn: did the machine favour one side?"""

from __future__ import annotations

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor

WANTED_S = 0.003
MOST_THREADS = 8
FIRST_BYTES = 1 << 19


class Control:
    """Hashes a buffer on every core at once. The threads sleep as soon as they are done: they take
    nothing from the turn that follows."""

    def __init__(self) -> None:
        usable = (
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        )
        self._threads = min(MOST_THREADS, usable or 1)
        self._pool = ThreadPoolExecutor(self._threads)
        self._buffer = bytes(FIRST_BYTES)
        fastest_s = min(self.seconds() for _ in range(5))
        self._buffer = bytes(max(FIRST_BYTES // 8, round(FIRST_BYTES * WANTED_S / fastest_s)))

    def seconds(self) -> float:
        """How long it takes now."""
        since_s = time.perf_counter()
        list(self._pool.map(self._once, range(self._threads)))
        return time.perf_counter() - since_s

    def _once(self, _: int) -> None:
        hashlib.sha256(self._buffer)  # without the interpreter's lock

    def close(self) -> None:
        """End its threads."""
        self._pool.shutdown()
