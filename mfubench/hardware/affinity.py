"""Which processors this process may run on, and which of them are the fast ones."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from mfubench.hardware.textfile import integer_of


def usable_cpus() -> tuple[int, ...]:
    """The processors that the calling thread may run on, in order.

    macOS and Windows have no mask to read: there it is all of them.
    """
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def cpus_of_all_threads() -> frozenset[int]:
    """The processors that any thread of this process may run on.

    Of all threads, because a mask belongs to a thread: under OMP_PROC_BIND the OpenMP runtime ties
    the main thread to one CPU and its workers to others, and the main thread's mask alone would
    say 1.
    """
    allowed = set(usable_cpus())
    with contextlib.suppress(OSError, AttributeError):  # elsewhere than on Linux nothing tells
        for task in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError):  # it may have ended meanwhile
                allowed |= os.sched_getaffinity(int(task.name))
    return frozenset(allowed)


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """The processors of a list as taskset and the kernel write it. Raises ValueError.

    >>> parse_cpu_list("0-6:2,9"), parse_cpu_list("3")
    ((0, 2, 4, 6, 9), (3,))
    """
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5})(?::([1-9]\d{0,4}))?)?", part, re.ASCII)
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            raise ValueError(text)
        first, last, stride = (int(group or 0) for group in match.groups())
        found |= set(range(first, max(first, last) + 1, stride or 1))
    return tuple(sorted(found))


def performance_cpus(cpus: Sequence[int], sysfs: Path = Path("/sys")) -> tuple[int, ...]:
    """The faster kind among `cpus`, empty where all are of one kind or the kernel does not say.

    Linux tells a capacity per processor on Arm and, since 6.x, on Intel hybrids; before that the
    largest frequency tells them apart.
    """
    for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        values = {c: integer_of(sysfs / f"devices/system/cpu/cpu{c}/{name}") for c in cpus}
        known = [value for value in values.values() if value is not None]
        # Favoured cores of one kind differ by a few per cent in frequency, kinds by far more.
        if known and len(known) == len(values) and max(known) > 1.2 * min(known):
            return tuple(cpu for cpu, v in values.items() if v is not None and v > max(known) / 1.2)
    return ()
