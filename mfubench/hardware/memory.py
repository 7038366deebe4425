"""Memory of this machine, within what a container allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from mfubench.hardware import cgroup

if TYPE_CHECKING:
    from pathlib import Path


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
