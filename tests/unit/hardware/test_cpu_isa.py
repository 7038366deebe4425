"""FLOPs per cycle: the flags choose the width, the model chooses the units, unknown stays None."""

from __future__ import annotations

import pytest

from mfubench.hardware.cpu_identity import (
    CpuIdentity,
    darwin_identity,
    parse_cpuinfo,
    parse_processor,
)
from mfubench.hardware.cpu_isa import flops_per_cycle, has_fast_bfloat16

AVX2 = "sse2 avx avx2 fma"
AVX512 = f"{AVX2} avx512f"


def x86(vendor: str, family: int, model: int, flags: str, name: str = "") -> CpuIdentity:
    return CpuIdentity(vendor, name, family, model, 0, frozenset(flags.split()))


def intel(model: int, flags: str, name: str = "") -> CpuIdentity:
    return x86("GenuineIntel", 6, model, flags, name)


def amd(family: int, model: int, flags: str) -> CpuIdentity:
    return x86("AuthenticAMD", family, model, flags)


def arm(part: int, flags: str, vendor: str = "ARM") -> CpuIdentity:
    return CpuIdentity(vendor, "", None, part, 0, frozenset(flags.split()), "aarch64")


def rate(identity: CpuIdentity, dtype: str) -> int | None:
    answer = flops_per_cycle(identity, dtype)
    return answer[0] if answer else None


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        pytest.param(intel(158, AVX2), 32, id="Coffee Lake"),
        pytest.param(intel(190, AVX2), 16, id="Alder Lake-N"),
        pytest.param(intel(42, "sse2 avx"), 16, id="Sandy Bridge"),
        pytest.param(intel(26, "sse2"), 8, id="Nehalem"),
        pytest.param(intel(106, AVX512), 64, id="Ice Lake server"),
        pytest.param(intel(143, AVX512), 64, id="Sapphire Rapids"),
        pytest.param(intel(140, AVX512), 32, id="Tiger Lake"),
        pytest.param(intel(108, AVX512), None, id="Xeon D of unknown units"),
        pytest.param(intel(87, AVX512), None, id="Xeon Phi"),
        pytest.param(amd(23, 1, AVX2), 16, id="Zen"),
        pytest.param(amd(23, 0x31, AVX2), 32, id="Zen 2"),
        pytest.param(amd(25, 1, AVX2), 32, id="Zen 3"),
        pytest.param(amd(25, 0x11, AVX512), 32, id="Zen 4"),
        pytest.param(amd(26, 0x02, AVX512), 64, id="Zen 5 server"),
        pytest.param(amd(26, 0x44, AVX512), 64, id="Zen 5 desktop"),
        pytest.param(amd(26, 0x24, AVX512), 32, id="Zen 5 mobile"),
        pytest.param(amd(26, 0x70, AVX512), None, id="Zen 5 of unknown width"),
        pytest.param(amd(21, 2, "sse2 avx fma"), None, id="Piledriver"),
        pytest.param(x86("CentaurHauls", 7, 59, AVX2), None, id="unknown vendor"),
        pytest.param(arm(0xD0C, "asimd"), 16, id="Neoverse N1"),
        pytest.param(arm(0xD4F, "asimd sve2"), 32, id="Neoverse V2"),
        pytest.param(arm(0xD03, "asimd"), None, id="Cortex-A53"),
        pytest.param(arm(0xD0C, "asimd", vendor="Apple"), None, id="Apple"),
        pytest.param(CpuIdentity("unknown", "", arch="riscv64"), None, id="RISC-V"),
    ],
)
def test_float32_rate_of_a_core(identity: CpuIdentity, expected: int | None) -> None:
    assert rate(identity, "float32") == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Intel(R) Xeon(R) Platinum 8175M CPU @ 2.50GHz", 64),
        ("Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz", 64),
        ("Intel(R) Xeon(R) Gold 5118 CPU @ 2.30GHz", 32),
        ("Intel(R) Xeon(R) Gold 5122 CPU @ 3.60GHz", 64),
        ("Intel(R) Xeon(R) Gold 5220 CPU @ 2.20GHz", 32),
        ("Intel(R) Xeon(R) Gold 5318H CPU @ 2.50GHz", 64),
        ("Intel(R) Xeon(R) Silver 4210 CPU @ 2.20GHz", 32),
        ("Intel(R) Xeon(R) Bronze 3106 CPU @ 1.70GHz", 32),
        ("Intel(R) Core(TM) i9-9900X CPU @ 3.50GHz", 64),
        ("Intel(R) Xeon(R) D-2146NT CPU @ 2.30GHz", None),
    ],
)
def test_first_xeon_scalable_generations_differ_in_units(name: str, expected: int | None) -> None:
    assert rate(intel(85, AVX512, name), "float32") == expected


def test_a_hidden_xeon_is_assumed_to_have_two_units_and_says_so() -> None:
    answer = flops_per_cycle(intel(85, AVX512, "Intel(R) Xeon(R) CPU @ 2.00GHz"), "float32")
    assert answer is not None
    assert answer[0] == 64
    assert "assumed" in answer[1]


@pytest.mark.parametrize(
    ("identity", "bfloat16", "float16"),
    [
        pytest.param(intel(158, AVX2), 32, 32, id="converts both"),
        pytest.param(amd(25, 0x11, f"{AVX512} avx512_bf16"), 64, 32, id="Zen 4"),
        pytest.param(
            intel(143, f"{AVX512} avx512_bf16 avx512_fp16 amx_tile amx_bf16"), 1024, 128, id="SPR"
        ),
        pytest.param(
            intel(173, f"{AVX512} avx512_fp16 amx_tile amx_bf16 amx_fp16"), 1024, 1024, id="GNR"
        ),
        pytest.param(arm(0xD0C, "asimd asimdhp"), 16, 32, id="Neoverse N1"),
        pytest.param(arm(0xD4F, "asimd asimdhp bf16"), None, 64, id="Neoverse V2"),
    ],
)
def test_half_precision_rates(
    identity: CpuIdentity, bfloat16: int | None, float16: int | None
) -> None:
    assert rate(identity, "bfloat16") == bfloat16
    assert rate(identity, "float16") == float16


def test_conversion_is_named_as_such() -> None:
    answer = flops_per_cycle(intel(158, AVX2), "bfloat16")
    assert answer is not None
    assert "no bfloat16 arithmetic, converts to float32" in answer[1]


def test_tf32_has_no_rate_on_a_cpu() -> None:
    assert flops_per_cycle(intel(143, AVX512), "tf32") is None


def test_fast_bfloat16_needs_an_instruction_for_it() -> None:
    assert not has_fast_bfloat16(intel(106, AVX512))
    assert has_fast_bfloat16(amd(25, 0x11, f"{AVX512} avx512_bf16"))


def test_an_x86_cpuinfo_is_read() -> None:
    text = (
        "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 1\n"
        "model name\t: AMD EPYC\nstepping\t: 1\nflags\t\t: fpu avx2 fma hypervisor\n\n"
        "processor\t: 1\nvendor_id\t: other\n"
    )
    identity = parse_cpuinfo(text, "x86_64")
    assert (identity.vendor, identity.family, identity.model) == ("AuthenticAMD", 25, 1)
    assert identity.virtualised


def test_an_arm_cpuinfo_is_read() -> None:
    text = "Features\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\nCPU revision\t: 1\n"
    identity = parse_cpuinfo(text, "aarch64")
    assert (identity.vendor, identity.model, identity.stepping) == ("ARM", 0xD0C, 1)


def test_an_empty_cpuinfo_is_unknown_not_an_error() -> None:
    identity = parse_cpuinfo("", "x86_64")
    assert (identity.vendor, identity.flags) == ("unknown", frozenset())


def test_macos_features_are_spelled_as_on_linux() -> None:
    values = {
        "machdep.cpu.vendor": "GenuineIntel",
        "machdep.cpu.brand_string": "Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz",
        "machdep.cpu.family": "6",
        "machdep.cpu.model": "158",
        "machdep.cpu.features": "SSE2 FMA AVX1.0",
        "machdep.cpu.leaf7_features": "AVX2",
    }
    identity = darwin_identity(values.get, "x86_64")
    assert {"avx", "avx2", "fma"} <= identity.flags
    assert rate(identity, "float32") == 32


def test_an_apple_chip_has_its_name_as_model() -> None:
    identity = darwin_identity({"machdep.cpu.brand_string": "Apple M4 Pro"}.get, "aarch64")
    assert (identity.vendor, identity.model_name) == ("Apple", "Apple M4 Pro")


def test_windows_tells_the_model_but_no_instruction_sets() -> None:
    text = "AMD64 Family 25 Model 33 Stepping 0, AuthenticAMD"
    identity = parse_processor(text, "x86_64")
    assert (identity.vendor, identity.family, identity.model) == ("AuthenticAMD", 25, 33)
    assert flops_per_cycle(identity, "float32") is None
