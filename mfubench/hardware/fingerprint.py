"""A stable id for a machine's hardware, so that results of one machine lie together.

In it: what makes two results comparable. Not in it: what changes between two runs on the same
machine (clocks, free memory, load), what is software (torch, kernel), and what is private (host
name, serial numbers).
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mfubench.hardware.cpu import usable_cores
from mfubench.hardware.cpu_identity import cpu_identity
from mfubench.hardware.memory import memory_total_bytes
from mfubench.hardware.pci import display_devices

#: Instruction sets that change how fast a matrix product runs. The full list of flags is longer and
#: changes with kernel and microcode updates.
_RELEVANT_FLAGS = frozenset(
    {
        *("sse2", "ssse3", "sse4_1", "sse4_2", "avx", "avx2", "fma", "f16c"),
        *("avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"),
        *("avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni"),
        *("amx_tile", "amx_bf16", "amx_int8", "amx_fp16"),
        *("asimd", "asimdhp", "asimddp", "sve", "sve2", "sme", "bf16", "i8mm"),
    }
)

_NOISE_WORDS = frozenset(
    {"r", "tm", "cpu", "processor", "with", "core", "cores", "genuineintel", "authenticamd"}
)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """``id`` is safe as a file name and readable; ``parts`` is all that it was made from."""

    id: str
    parts: Mapping[str, Any] = field(hash=False)


def fingerprint(parts: Mapping[str, Any] | None = None) -> Fingerprint:
    """The fingerprint of this machine, or of ``parts``.

    >>> fingerprint({"cpu_vendor": "AuthenticAMD", "cpu_model_name": "AMD EPYC", "usable_cores": 2,
    ...              "memory_gib": 24}).id
    'amd-epyc-2c-24g-5d8757ef'
    """
    known = dict(parts) if parts is not None else hardware_parts()
    canonical = json.dumps(known, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    digest = hashlib.sha256(canonical.encode("ascii")).hexdigest()[:8]
    return Fingerprint(f"{_slug(known)}-{digest}", known)


def hardware_parts(sysfs: Path = Path("/sys")) -> dict[str, Any]:
    """What identifies this machine's hardware; JSON types only, lists sorted."""
    identity = cpu_identity()
    return {
        "system": platform.system(),
        "arch": identity.arch,
        "cpu_vendor": identity.vendor,
        "cpu_family": identity.family,
        "cpu_model": identity.model,
        "cpu_stepping": identity.stepping,
        "cpu_model_name": identity.model_name,
        "cpu_flags": relevant_flags(identity.flags),
        "usable_cores": usable_cores(sysfs=sysfs).count,
        # Rounded, because a kernel update moves the total by some megabytes.
        "memory_gib": round(memory_total_bytes() / 2**30),
        "pci": sorted(device.ids for device in display_devices(sysfs)),
    }


def relevant_flags(flags: Iterable[str]) -> list[str]:
    """The instruction sets that matter for arithmetic, sorted."""
    return sorted(_RELEVANT_FLAGS.intersection(flags))


def _slug(parts: Mapping[str, Any]) -> str:
    """Up to three words of the CPU's name, cores and memory, safe in a path."""
    name = re.sub(r"@.*", "", str(parts.get("cpu_model_name", "unknown")).casefold())
    words = [w for w in re.findall(r"[a-z0-9]+", name) if w not in _NOISE_WORDS]
    named = "-".join(words[:3])[:40].strip("-") or "cpu"
    cores = f"{float(parts.get('usable_cores', 0)):g}".replace(".", "_")
    return f"{named}-{cores}c-{int(parts.get('memory_gib', 0))}g"
