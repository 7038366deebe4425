"""Which processors are performance cores, on a CPU that has two kinds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def performance_cpus(cpus: Sequence[int], sysfs: Path = Path("/sys")) -> tuple[int, ...]:
    """The faster kind among `cpus`, empty where all are of one kind or the kernel does not say.

    Linux tells a capacity per processor on Arm and, since 6.x, on Intel hybrids; before that the
    largest frequency tells them apart.
    """
    for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        values = {}
        for cpu in cpus:
            try:
                text = (sysfs / f"devices/system/cpu/cpu{cpu}/{name}").read_text(encoding="ascii")
                values[cpu] = int(text)
            except (OSError, ValueError):
                break
        # Favoured cores of one kind differ by a few per cent in frequency, kinds by far more.
        fastest, slowest = max(values.values(), default=0), min(values.values(), default=0)
        if len(values) == len(cpus) and fastest > 1.2 * slowest:
            return tuple(cpu for cpu, value in values.items() if value > fastest / 1.2)
    return ()
