"""The size of the CPU's last-level cache, as the kernel tells it."""

from __future__ import annotations

from pathlib import Path

SUFFIXES = {"K": 2**10, "M": 2**20, "G": 2**30}


def last_level_cache_bytes(sysfs: Path = Path("/sys")) -> int:
    """Bytes of the largest cache of the first CPU; 0 where the kernel does not say."""
    largest = 0
    for path in sysfs.glob("devices/system/cpu/cpu0/cache/index*/size"):
        try:
            text = path.read_text(encoding="ascii").strip()
            unit = SUFFIXES.get(text[-1:], 1)
            largest = max(largest, int(text.rstrip("KMG")) * unit)
        except (OSError, ValueError):
            continue
    return largest
