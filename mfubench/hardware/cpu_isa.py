"""FLOPs per cycle of one CPU core, by microarchitecture and dtype.

    FLOPs per cycle = vector units x lanes x 2 (a fused multiply-add counts as two)

Instruction sets tell how wide an instruction is, not how many units execute it or how wide those
are: Zen 4 and Zen 5 have the same AVX-512 flags and differ by a factor of two. So the flags choose
the row and the family and model choose the units. Where they are not known the answer is None.

Sources: Intel 64 and IA-32 Optimization Reference Manual (ports of each core, AMX throughput),
Intel ARK ("# of AVX-512 FMA Units"), AMD Software Optimization Guides for families 17h, 19h and
1Ah, Arm Software Optimization Guides of the Neoverse and Cortex cores named below.
"""

from __future__ import annotations

import re

from mfubench.hardware.cpu_identity import CpuIdentity
from mfubench.hardware.dtypes import check_dtype

Rate = tuple[int, str]

#: TDPBF16PS multiplies 16x32 by 32x16: 16,384 FLOPs in 16 cycles.
_AMX_FLOPS_PER_CYCLE = 1024

_TWO_512_BIT_UNITS: Rate = (64, "AVX-512 with two 512-bit FMA units")
_ONE_512_BIT_UNIT: Rate = (32, "AVX-512 with one 512-bit FMA unit")
_TWO_256_BIT_UNITS: Rate = (32, "AVX2 with two 256-bit FMA units")
_HYBRID: Rate = (32, f"{_TWO_256_BIT_UNITS[1]} (efficiency cores may have less: an upper bound)")

# Intel's family 6 and its models.
_INTEL_CORE = 6
_SKYLAKE_SP = 85  # also Cascade Lake, Cooper Lake, and the Core X and Xeon W made from them
_INTEL_AVX512: dict[int, Rate] = {
    # Ice Lake, Sapphire Rapids, Granite Rapids and its D, Emerald Rapids: servers
    **dict.fromkeys((106, 143, 173, 174, 207), _TWO_512_BIT_UNITS),
    # Cannon Lake to Alder Lake: clients
    **dict.fromkeys((102, 125, 126, 140, 141, 151, 154, 167), _ONE_512_BIT_UNIT),
}
_INTEL_AVX2: dict[int, Rate] = {
    # Sierra Forest, Grand Ridge, Alder Lake-N: Atom cores
    **dict.fromkeys((175, 182, 190), (16, "AVX2 with two 128-bit FMA units")),
    **dict.fromkeys((151, 154, 170, 172, 181, 183, 186, 189, 191, 197, 198), _HYBRID),
}

# AMD families and models.
_ZEN_1_AND_2, _HYGON, _ZEN_3_AND_4, _ZEN_5 = 23, 24, 25, 26
_FIRST_ZEN_2_MODEL = 0x30  # family 23 below it is Zen and Zen+, with 128-bit units
_ZEN_5_WITH_512_BITS = (range(0x20), range(0x40, 0x50))  # Turin, Granite Ridge
_ZEN_5_WITH_256_BITS = range(0x20, 0x30)  # Strix Point

#: Arm part numbers: (name, 128-bit fused multiply-add units). SVE shares these units.
_ARM_CORES: dict[int, tuple[str, int]] = {
    0xD0B: ("Cortex-A76", 2),
    0xD0C: ("Neoverse N1", 2),
    0xD40: ("Neoverse V1", 4),
    0xD44: ("Cortex-X1", 4),
    0xD49: ("Neoverse N2", 2),
    0xD4F: ("Neoverse V2", 4),
}


def flops_per_cycle(identity: CpuIdentity, dtype: str) -> Rate | None:
    """FLOPs per cycle and core in ``dtype``, with the reason; None where it is not known.

    >>> from mfubench.hardware.cpu_identity import CpuIdentity
    >>> zen_3 = CpuIdentity("AuthenticAMD", "AMD EPYC", 25, 1, 1, frozenset({"avx2", "fma"}))
    >>> flops_per_cycle(zen_3, "float32")
    (32, 'AVX2 with two 256-bit FMA units')
    >>> flops_per_cycle(zen_3, "bfloat16")
    (32, 'AVX2 with two 256-bit FMA units; no bfloat16 arithmetic, converts to float32')

    TF32 is a format of GPU matrix units and has no rate here.
    """
    check_dtype(dtype)
    if dtype == "tf32":
        return None
    if identity.arch == "x86_64":
        return _x86(identity, dtype)
    if identity.arch == "aarch64":
        return _arm(identity, dtype)
    return None


def has_fast_bfloat16(identity: CpuIdentity) -> bool:
    """Whether the CPU multiplies in bfloat16 itself, rather than converting to float32 and back."""
    return bool(identity.flags & {"amx_bf16", "avx512_bf16", "bf16"})


def _x86(identity: CpuIdentity, dtype: str) -> Rate | None:
    flags = identity.flags
    matrix_flag = {"bfloat16": "amx_bf16", "float16": "amx_fp16"}.get(dtype)
    if matrix_flag in flags and "amx_tile" in flags:
        return _AMX_FLOPS_PER_CYCLE, f"AMX tiles in {dtype}"
    base = _x86_float32(identity)
    if base is None or dtype == "float32":
        return base
    rate, reason = base
    vector_flag = {"bfloat16": "avx512_bf16", "float16": "avx512_fp16"}[dtype]
    if vector_flag in flags:
        return 2 * rate, f"{reason}, doubled by {vector_flag.upper()}"
    return rate, f"{reason}; no {dtype} arithmetic, converts to float32"


def _x86_float32(identity: CpuIdentity) -> Rate | None:
    intel = identity.vendor == "GenuineIntel" and identity.family == _INTEL_CORE
    model = identity.model or 0
    if "avx512f" in identity.flags:
        if intel and model == _SKYLAKE_SP:
            return _skylake_sp(identity.model_name)
        return _INTEL_AVX512.get(model) if intel else _amd_avx512(identity)
    if {"avx2", "fma"} <= identity.flags:
        return _INTEL_AVX2.get(model, _TWO_256_BIT_UNITS) if intel else _amd_avx2(identity)
    return _intel_before_haswell(identity.flags) if intel else None


def _intel_before_haswell(flags: frozenset[str]) -> Rate | None:
    """A core that adds and multiplies once per cycle each, with no fused form."""
    if "avx" in flags:
        return 16, "AVX with one 256-bit adder and one multiplier"
    return (8, "SSE with one 128-bit adder and one multiplier") if "sse2" in flags else None


def _skylake_sp(model_name: str) -> Rate | None:
    """The first two Xeon Scalable generations share a model number and differ in their units.

    Bronze 3xxx, Silver 4xxx and Gold 5xxx of the generations x1xx and x2xx have one; the 5122 and
    5222 are the exceptions. Cooper Lake, the third (x3xx), has two everywhere.
    """
    name = re.sub(r"\((?:r|tm)\)", "", model_name.casefold())
    series = re.search(r"xeon\s+(?:bronze|silver|gold|platinum)\s+(\d)(\d)", name)
    if series:
        single = series.group(1) in "345" and series.group(2) in "12"
        excepted = re.search(r"gold\s+5[12]22\b", name)
        return _ONE_512_BIT_UNIT if single and not excepted else _TWO_512_BIT_UNITS
    if "core i9" in name or "xeon w-" in name:
        return _TWO_512_BIT_UNITS
    if "xeon" in name and "xeon d" not in name:  # a hypervisor's name; clouds run Platinum parts
        rate, reason = _TWO_512_BIT_UNITS
        return rate, f"{reason} (assumed: the model name hides which Xeon it is)"
    return None


def _amd_avx512(identity: CpuIdentity) -> Rate | None:
    family, model = identity.family, identity.model
    if identity.vendor != "AuthenticAMD" or model is None:
        return None
    if family == _ZEN_3_AND_4 or (family == _ZEN_5 and model in _ZEN_5_WITH_256_BITS):
        return 32, "AVX-512 passed twice through two 256-bit FMA units"
    if family == _ZEN_5 and any(model in models for models in _ZEN_5_WITH_512_BITS):
        return _TWO_512_BIT_UNITS
    return None


def _amd_avx2(identity: CpuIdentity) -> Rate | None:
    if identity.vendor not in ("AuthenticAMD", "HygonGenuine") or identity.model is None:
        return None
    first_zen = identity.family == _ZEN_1_AND_2 and identity.model < _FIRST_ZEN_2_MODEL
    if first_zen or identity.family == _HYGON:
        return 16, "AVX2 passed twice through two 128-bit FMA units"
    if identity.family in (_ZEN_1_AND_2, _ZEN_3_AND_4, _ZEN_5):
        return _TWO_256_BIT_UNITS
    return None


def _arm(identity: CpuIdentity, dtype: str) -> Rate | None:
    """Only Arm's own cores.

    Apple's are left out on purpose: matrix products run there on a matrix unit whose rate Apple
    does not publish, so a peak from the vector units would lie below what is measured.
    """
    core = _ARM_CORES.get(identity.model or 0) if identity.vendor == "ARM" else None
    if core is None:
        return None
    name, units = core
    rate, reason = units * 4 * 2, f"{name} with {units} 128-bit FMA units"
    if dtype == "float32":
        return rate, reason
    if dtype == "float16":
        if "asimdhp" in identity.flags:
            return 2 * rate, f"{reason}, doubled by FP16 arithmetic"
        return rate, f"{reason}; no float16 arithmetic, converts to float32"
    if "bf16" in identity.flags:
        return None  # BFMMLA's rate differs between cores that share the flag
    return rate, f"{reason}; no bfloat16 arithmetic, converts to float32"
