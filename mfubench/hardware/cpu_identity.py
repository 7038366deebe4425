"""Who the CPU is: vendor, model and instruction sets, from the operating system."""

from __future__ import annotations

import functools
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mfubench.hardware.textfile import output_of, text_of

#: Implementer codes of Arm's MIDR_EL1 register, as /proc/cpuinfo prints them.
_ARM_IMPLEMENTERS = {0x41: "ARM", 0x46: "Fujitsu", 0x51: "Qualcomm", 0x61: "Apple", 0xC0: "Ampere"}

#: macOS names some x86 features differently from Linux.
_DARWIN_FLAGS = {"avx1.0": "avx", "sse4.1": "sse4_1", "sse4.2": "sse4_2"}


@dataclass(frozen=True, slots=True)
class CpuIdentity:
    """What identifies a CPU. ``model`` is the part number on Arm; flags are spelled as on Linux."""

    vendor: str
    model_name: str
    family: int | None = None
    model: int | None = None
    stepping: int | None = None
    flags: frozenset[str] = frozenset()
    arch: str = "x86_64"

    @property
    def virtualised(self) -> bool:
        """Whether the CPU says that it runs under a hypervisor (x86 only)."""
        return "hypervisor" in self.flags


@functools.cache
def cpu_identity() -> CpuIdentity:
    """The CPU of this machine; what cannot be read is empty or None, never guessed."""
    arch = normal_arch(platform.machine())
    system = platform.system()
    if system == "Linux":
        return parse_cpuinfo(text_of(Path("/proc/cpuinfo")), arch)
    if system == "Darwin":
        return darwin_identity(sysctl, arch)
    return parse_processor(platform.processor(), arch)


def normal_arch(machine: str) -> str:
    """One spelling for each architecture.

    >>> normal_arch("AMD64"), normal_arch("arm64")
    ('x86_64', 'aarch64')
    """
    folded = machine.casefold()
    return {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}.get(folded, folded)


def parse_cpuinfo(text: str, arch: str) -> CpuIdentity:
    """The first processor of a /proc/cpuinfo; x86 and Arm use different keys."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip().casefold(), value.strip())
    implementer = _int(fields.get("cpu implementer"))
    vendor = fields.get("vendor_id") or _ARM_IMPLEMENTERS.get(implementer or -1, "unknown")
    part = _int(fields.get("cpu part"))
    fallback_name = f"part {part:#x}" if part is not None else "unknown"
    return CpuIdentity(
        vendor=vendor,
        model_name=fields.get("model name", fallback_name),
        family=_int(fields.get("cpu family")),
        model=part if part is not None else _int(fields.get("model")),
        stepping=_int(fields.get("stepping", fields.get("cpu revision"))),
        flags=frozenset(fields.get("flags", fields.get("features", "")).casefold().split()),
        arch=arch,
    )


def darwin_identity(read: Callable[[str], str | None], arch: str) -> CpuIdentity:
    """From macOS's sysctl; ``read`` maps a key to its value or None."""
    words: list[str] = []
    for key in ("machdep.cpu.features", "machdep.cpu.leaf7_features"):
        words += (read(key) or "").casefold().split()
    return CpuIdentity(
        vendor=read("machdep.cpu.vendor") or ("Apple" if arch == "aarch64" else "unknown"),
        model_name=read("machdep.cpu.brand_string") or "unknown",
        family=_int(read("machdep.cpu.family")),
        model=_int(read("machdep.cpu.model")),
        stepping=_int(read("machdep.cpu.stepping")),
        flags=frozenset(_DARWIN_FLAGS.get(word, word) for word in words),
        arch=arch,
    )


def parse_processor(text: str, arch: str) -> CpuIdentity:
    """Windows' description of a CPU. It has no instruction sets, so no peak can be derived.

    >>> parse_processor("Intel64 Family 6 Model 154 Stepping 3, GenuineIntel", "x86_64").model
    154
    """
    match = re.search(r"Family (\d+) Model (\d+) Stepping (\d+)(?:, (\S+))?", text)
    if match is None:
        return CpuIdentity(vendor="unknown", model_name=text or "unknown", arch=arch)
    family, model, stepping = (int(number) for number in match.groups()[:3])
    return CpuIdentity(match[4] or "unknown", text, family, model, stepping, arch=arch)


def sysctl(key: str) -> str | None:
    """A macOS kernel value as text, None where it cannot be read."""
    return output_of("/usr/sbin/sysctl", "-n", key)


def _int(text: str | None) -> int | None:
    try:
        return int(text, 0) if text else None
    except ValueError:
        return None
