"""The clock of a CPU: what is reported, what is allowed, and what is really there.

A virtual machine reports its host's base clock (2.45 GHz, say) while the core boosts (3.5 GHz),
and a peak derived from the report would lie below what a matrix product reaches. So the clock is
also measured, by the one instruction whose latency has been the same for fifteen years: a 32-bit
IMUL takes 3 cycles on every Intel core since Nehalem and on every AMD Zen (uops.info, Agner Fog's
instruction tables). An addition would not do: newer cores eliminate chained additions of constants
at rename.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import mmap
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfubench.hardware.cpu_identity import normal_arch, sysctl
from mfubench.hardware.textfile import text_of

_IMULS_PER_ITERATION = 20
_CYCLES_PER_IMUL = 3
_ITERATIONS = 20_000  # 1.2 million cycles: a third of a millisecond at 3.5 GHz
_REPEATS = 40
_PLAUSIBLE_HZ = (0.3e9, 10e9)
_PROT_READ_EXEC = 0x1 | 0x4  # PROT_READ | PROT_EXEC, alike on Linux and macOS

_IMUL = bytes.fromhex("0fafc1")  # imul eax, ecx      waits for the previous product in eax
_LOOP = _IMUL * _IMULS_PER_ITERATION + bytes.fromhex("48ffcf")  # dec rdi, the iterations left
_JUMP_BACK = -(len(_LOOP) + 2)  # from the end of the 2-byte jump to the first imul

#: A System V function ``uint32 chain(uint64 iterations)``. It touches eax, ecx and rdi, all of
#: which the callee may change, and no memory. Odd factors keep the product odd, hence never zero.
MACHINE_CODE = b"".join(
    (
        bytes.fromhex("b803000000"),  # mov eax, 3
        bytes.fromhex("b905000000"),  # mov ecx, 5
        _LOOP,
        b"\x75" + _JUMP_BACK.to_bytes(1, "little", signed=True),  # jnz to the first imul
        b"\xc3",  # ret, with the product in eax
    )
)


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock in Hz and where it is from. None is unknown."""

    hz: float | None
    source: str
    reported_hz: float | None
    max_hz: float | None
    measured_hz: float | None


def clock_hz(
    *,
    proc: Path = Path("/proc"),
    sysfs: Path = Path("/sys"),
    measure: Callable[[], float | None] | None = None,
) -> Clock:
    """The highest of the reported, the maximum and the measured clock: a peak must not be exceeded.

    The measured one is a single busy core's. With every core busy, or with wide vectors, many CPUs
    clock lower; the ceiling measured by a matrix product shows by how much.
    """
    reported_hz = _reported_hz(proc)
    max_hz = _max_hz(sysfs)
    measured_hz = (measure or measured_clock_hz)()
    candidates = (("measured", measured_hz), ("maximum", max_hz), ("reported", reported_hz))
    known = [(hz, label) for label, hz in candidates if hz is not None]
    if not known:
        return Clock(None, "unknown: neither reported nor measurable here", None, None, None)
    hz, label = max(known, key=lambda pair: pair[0])
    source = label
    if reported_hz is not None and label != "reported":
        source = f"{label}; {reported_hz / 1e9:.2f} GHz reported"
    return Clock(hz, source, reported_hz, max_hz, measured_hz)


@functools.cache
def measured_clock_hz() -> float | None:
    """Clock of the core that runs this, in Hz, from a chain of multiplications; takes about 15 ms.

    The fastest repeat counts, since anything else on the core only makes a repeat slower. None
    where the chain cannot run: not x86-64, Windows, emulated, or executable memory refused.
    """
    if normal_arch(platform.machine()) != "x86_64" or sys.platform not in ("linux", "darwin"):
        return None
    if sys.maxsize < 2**32:
        return None  # a 32-bit Python would decode the bytes as other instructions
    if sys.platform == "darwin" and sysctl("sysctl.proc_translated") == "1":
        return None  # translated to Arm, where a multiplication has another latency
    try:
        best_s = _fastest_chain_s()
    except (OSError, ValueError, AttributeError, BufferError):
        return None
    cycles = _ITERATIONS * _IMULS_PER_ITERATION * _CYCLES_PER_IMUL
    hz = cycles / best_s if best_s > 0 else 0.0
    low, high = _PLAUSIBLE_HZ
    return hz if low <= hz <= high else None


def _fastest_chain_s() -> float:
    """Seconds of the fastest repeat. The page is first writable, then executable, never both."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    page = mmap.mmap(-1, mmap.PAGESIZE, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    try:
        page.write(MACHINE_CODE)
        # The pointer holds the mapping open, so it goes before the page is closed.
        pointer = ctypes.c_char.from_buffer(page)
        address = ctypes.addressof(pointer)
        del pointer
        libc: Any = ctypes.CDLL(None, use_errno=True)
        libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        if libc.mprotect(address, mmap.PAGESIZE, _PROT_READ_EXEC) != 0:
            raise OSError(ctypes.get_errno(), "mprotect refused an executable page")
        chain = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_uint64)(address)
        return min(_time_s(chain) for _ in range(_REPEATS))
    finally:
        page.close()


def _time_s(chain: Callable[[int], int]) -> float:
    start_s = time.perf_counter()
    chain(_ITERATIONS)
    return time.perf_counter() - start_s


def _reported_hz(proc: Path) -> float | None:
    """The highest "cpu MHz" of /proc/cpuinfo; on macOS, what sysctl says."""
    lines = (line.partition(":") for line in text_of(proc / "cpuinfo").splitlines())
    values = [value for key, _, value in lines if key.strip().casefold() == "cpu mhz"]
    return _highest_hz(values, 1e6, "hw.cpufrequency")


def _max_hz(sysfs: Path) -> float | None:
    """The highest ``cpuinfo_max_freq`` (in kHz) over the CPUs, boost included."""
    files = sorted((sysfs / "devices/system/cpu").glob("cpu[0-9]*/cpufreq/cpuinfo_max_freq"))
    return _highest_hz([text_of(path) for path in files], 1e3, "hw.cpufrequency_max")


def _highest_hz(texts: list[str], unit_hz: float, darwin_key: str) -> float | None:
    """The highest of the numbers, in Hz; on macOS, where there are none, what sysctl says."""
    if not texts and sys.platform == "darwin":
        texts, unit_hz = [sysctl(darwin_key) or ""], 1.0
    readings = []
    for text in texts:
        with contextlib.suppress(ValueError):
            readings.append(float(text) * unit_hz)
    return max((hz for hz in readings if 0 < hz < float("inf")), default=None)
