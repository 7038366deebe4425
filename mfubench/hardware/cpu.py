"""The CPU as seen by this process: cores it may use, clock, and the peak that follows.

    peak = usable cores x FLOPs per cycle and core x clock

That is a bound from the instruction set, not a measurement, and always stands beside a measured
ceiling. The factors are in `cpu_isa` and `cpu_clock`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from mfubench.hardware import cgroup
from mfubench.hardware.affinity import cpus_of_all_threads
from mfubench.hardware.cpu_clock import Clock, clock_hz
from mfubench.hardware.cpu_identity import CpuIdentity, cpu_identity
from mfubench.hardware.cpu_isa import flops_per_cycle
from mfubench.hardware.dtypes import check_dtype
from mfubench.hardware.textfile import text_of


@dataclass(frozen=True, slots=True)
class UsableCores:
    """How many cores this process can keep busy, and why."""

    count: float
    """Physical cores' worth of arithmetic: the lowest of what is below."""
    physical: int
    """Distinct physical cores among the CPUs in the affinity mask, as far as they can be told."""
    logical: int
    """Logical CPUs of the machine."""
    affinity: int
    """Logical CPUs that the process may run on."""
    quota: float | None
    """CPUs' worth of time granted by the control group, None where unlimited."""
    source: str


@dataclass(frozen=True, slots=True)
class DerivedPeak:
    """A peak from instruction set, cores and clock."""

    flops_per_s: float
    source: str


def usable_cores(
    *,
    proc: Path = cgroup.PROC,
    cgroup_root: Path = cgroup.CGROUP_ROOT,
    sysfs: Path = Path("/sys"),
    affinity: frozenset[int] | None = None,
    logical: int | None = None,
) -> UsableCores:
    """Cores that count towards the peak: physical ones in the affinity mask, bounded by the quota.

    Two threads of one core share its vector units, so logical CPUs would count those twice. A
    quota is time on logical CPUs, but the scheduler can spend it on separate cores: a quota of 2
    on a machine of 4 cores and 8 threads is 2 cores' worth of arithmetic, not 1. Inside a virtual
    machine a CPU may be a thread of the host without the guest being told; then the count is an
    upper bound.
    """
    allowed = cpus_of_all_threads() if affinity is None else affinity
    machine = logical or os.cpu_count() or len(allowed)
    quota = cgroup.cpu_quota(proc, cgroup_root)
    physical = _physical_cores(allowed, sysfs)
    count = float(physical) if quota is None else min(float(physical), quota)
    parts = [f"{len(allowed)} of {machine} logical CPUs in the affinity mask"]
    if physical < len(allowed):
        parts.append(f"on {physical} physical cores")
    if quota is not None:
        parts.append(f"quota of {quota:g} CPUs")
    return UsableCores(count, physical, machine, len(allowed), quota, ", ".join(parts))


def derived_peak(
    dtype: str,
    *,
    identity: CpuIdentity | None = None,
    cores: UsableCores | None = None,
    clock: Clock | None = None,
) -> DerivedPeak | None:
    """Peak FLOP/s of the usable cores in ``dtype``, None where a factor is unknown.

    >>> peak = derived_peak(
    ...     "float32",
    ...     identity=CpuIdentity("GenuineIntel", "", 6, 158, 9, frozenset({"avx2", "fma"})),
    ...     cores=UsableCores(4.0, 4, 8, 8, None, ""),
    ...     clock=Clock(4.2e9, "maximum; 3.60 GHz reported", 3.6e9, 4.2e9, None),
    ... )
    >>> peak.flops_per_s / 1e9
    537.6
    >>> print(peak.source)
    derived: AVX2 with two 256-bit FMA units, 32 FLOPs per cycle x 4 usable cores x 4.20 GHz
    (maximum; 3.60 GHz reported)
    """
    check_dtype(dtype)
    per_cycle = flops_per_cycle(identity or cpu_identity(), dtype)
    if per_cycle is None:
        return None
    clock = clock or clock_hz()
    if clock.hz is None:
        return None
    cores = cores or usable_cores()
    rate, reason = per_cycle
    plural = "core" if cores.count == 1 else "cores"
    source = (
        f"derived: {reason}, {rate} FLOPs per cycle x {cores.count:g} usable {plural}"
        f" x {clock.hz / 1e9:.2f} GHz ({clock.source})"
    )
    return DerivedPeak(rate * cores.count * clock.hz, source)


def _physical_cores(cpus: frozenset[int], sysfs: Path) -> int:
    if not (sysfs / "devices/system/cpu").is_dir():  # not Linux: only the machine's total is known
        return min(len(cpus), psutil.cpu_count(logical=False) or len(cpus))
    return len({_core_of(cpu, sysfs) for cpu in cpus})


def _core_of(cpu: int, sysfs: Path) -> str:
    """A name of the physical core under a logical CPU: the list of its threads, or itself."""
    topology = sysfs / f"devices/system/cpu/cpu{cpu}/topology"
    return text_of(topology / "thread_siblings_list") or str(cpu)
