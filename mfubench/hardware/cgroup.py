"""What a container or a service manager allows this process: CPU time and memory.

Linux has two generations of control groups and many ways to mount them. A limit set on any ancestor
binds, so each reader walks from the process's own group up to the root of the mount. Inside a
container the path in /proc/self/cgroup may not exist in the mount (it is the host's view); the walk
then still meets the mount's root, which is the container's own group.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from mfubench.hardware.textfile import integer_of, text_of

PROC = Path("/proc")
CGROUP_ROOT = Path("/sys/fs/cgroup")

#: cgroup v1 writes "no limit" as the largest page-aligned 64-bit number; anything near it is none.
_NO_LIMIT_BYTES = 2**62


def cpu_quota(proc: Path = PROC, cgroup_root: Path = CGROUP_ROOT) -> float | None:
    """CPUs' worth of time that the strictest group grants, None where nothing limits it.

    From ``cpu.max`` ("200000 100000" is 2 CPUs) or v1's ``cpu.cfs_quota_us`` over its period.
    """
    quotas = [
        _quota(text_of(group / "cpu.max").split()) for group in _groups(proc, cgroup_root, None)
    ]
    for group in _groups(proc, cgroup_root, "cpu"):
        files = (group / "cpu.cfs_quota_us", group / "cpu.cfs_period_us")
        quotas.append(_quota([text_of(path) for path in files]))
    return min((quota for quota in quotas if quota is not None), default=None)


def memory_limit_bytes(proc: Path = PROC, cgroup_root: Path = CGROUP_ROOT) -> int | None:
    """The strictest memory limit, None where nothing limits it."""
    return min((limit for limit, _ in _memory_groups(proc, cgroup_root)), default=None)


def memory_headroom_bytes(proc: Path = PROC, cgroup_root: Path = CGROUP_ROOT) -> int | None:
    """Limit minus use of the tightest group, None where nothing limits it.

    Page cache that can be dropped (``inactive_file``) counts as free: the kernel drops it before it
    lets an allocation fail.
    """
    rooms = (max(0, limit - used) for limit, used in _memory_groups(proc, cgroup_root))
    return min(rooms, default=None)


def _memory_groups(proc: Path, cgroup_root: Path) -> Iterator[tuple[int, int]]:
    """(limit, use that cannot be reclaimed) in bytes of every group that has a limit."""
    layouts = (
        (None, "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    )
    for controller, limit_file, use_file, cache_key in layouts:
        for group in _groups(proc, cgroup_root, controller):
            limit = integer_of(group / limit_file)
            if limit is None or limit >= _NO_LIMIT_BYTES:
                continue
            used = integer_of(group / use_file) or 0
            yield limit, max(0, used - _stat(group / "memory.stat", cache_key))


def _groups(proc: Path, cgroup_root: Path, controller: str | None) -> Iterator[Path]:
    """Folders of this process's group and its ancestors; controller None means cgroup v2."""
    for line in text_of(proc / "self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        mounts = []
        if controller is None and number == "0":
            # v2 is hierarchy 0 without controllers; beside v1 it is mounted one folder down.
            mounts = [cgroup_root, cgroup_root / "unified"]
        elif controller in controllers.split(",") and controller is not None:
            mounts = [cgroup_root / controllers, cgroup_root / controller]
        for mount in mounts:
            own = Path(path.lstrip("/"))
            for folder in (own, *own.parents):
                if ".." not in folder.parts and (mount / folder).is_dir():
                    yield mount / folder


def _quota(quota_and_period_us: Sequence[str]) -> float | None:
    """CPUs' worth of time; None for "max", for v1's -1, and where a file is missing."""
    try:
        quota_us, period_us = (int(text) for text in quota_and_period_us)
    except ValueError:
        return None
    return quota_us / period_us if quota_us > 0 and period_us > 0 else None


def _stat(path: Path, key: str) -> int:
    found = re.search(rf"^{key} (\d+)$", text_of(path), re.MULTILINE)
    return int(found[1]) if found else 0
