"""Memory of this machine, within what a container allows, and the size of its largest cache."""

from __future__ import annotations

from pathlib import Path

import psutil

from mfubench.hardware import cgroup
from mfubench.hardware.textfile import text_of

_UNITS_BYTES = {"K": 2**10, "M": 2**20, "G": 2**30}
"""As the kernel writes the size of a cache: 32768K."""


def memory_total_bytes(proc: Path = cgroup.PROC, cgroup_root: Path = cgroup.CGROUP_ROOT) -> int:
    """Memory that this process could ever have: the machine's, or its group's limit if lower."""
    machine_bytes = int(psutil.virtual_memory().total)
    limit_bytes = cgroup.memory_limit_bytes(proc, cgroup_root)
    return machine_bytes if limit_bytes is None else min(machine_bytes, limit_bytes)


def memory_available_bytes(proc: Path = cgroup.PROC, cgroup_root: Path = cgroup.CGROUP_ROOT) -> int:
    """Memory that could be allocated now without swapping and without meeting the limit."""
    machine_bytes = int(psutil.virtual_memory().available)
    room_bytes = cgroup.memory_headroom_bytes(proc, cgroup_root)
    return machine_bytes if room_bytes is None else min(machine_bytes, room_bytes)


def last_level_cache_bytes(sysfs: Path = Path("/sys")) -> int:
    """Bytes of the largest cache of the first CPU; 0 where the kernel does not say."""
    sizes = [text_of(p) for p in sysfs.glob("devices/system/cpu/cpu0/cache/index*/size")]
    known = [s for s in sizes if s.rstrip("KMG").isdecimal()]
    return max((int(s.rstrip("KMG")) * _UNITS_BYTES.get(s[-1], 1) for s in known), default=0)
