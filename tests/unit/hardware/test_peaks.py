"""A spec peak belongs to exactly the device that was asked for, or it is unknown."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from mfubench.hardware.dtypes import DTYPES
from mfubench.hardware.peaks import DevicePeaks, fold_name, lookup, rows

GIB = 2**30


def found(name: str, memory_bytes: int | None = None) -> DevicePeaks:
    peaks = lookup(name, memory_bytes=memory_bytes)
    assert peaks is not None, name
    return peaks


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA RTX A1000",  # not an A100
        "NVIDIA RTX A1000 Laptop GPU",
        "NVIDIA GeForce RTX 4090 Laptop GPU",  # not an RTX 4090
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA A2",  # not an A10
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",  # a slice, not the whole
        "NVIDIA A100-SXM4-40GB MIG 3g.20gb",
        "NVIDIA H100",  # SXM, PCIe and NVL agree on nothing
        "NVIDIA A100-SXM-64GB",  # a size that no A100 in the table has
        "Tesla M4",  # not an Apple M4
        "M4",
        "Apple M5",
        "Intel(R) Data Center GPU Max 1550",
        "",
    ],
)
def test_a_device_without_a_row_is_unknown(name: str) -> None:
    assert lookup(name) is None


@pytest.mark.parametrize(
    ("name", "bfloat16_tflops_per_s"),
    [
        ("NVIDIA A40", 149.7),
        ("NVIDIA RTX A4000", 76.7),
        ("NVIDIA L4", 121),
        ("NVIDIA L40", 181),
        ("NVIDIA L40S", 362),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A100-PCIE-40GB", 312),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835),
        ("NVIDIA H200", 989),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA GeForce RTX 4070 Ti", 80.2),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", 88.2),
        ("NVIDIA GeForce RTX 4070", 58.3),
        ("NVIDIA GeForce RTX 5090", 209.5),
        ("AMD Instinct MI300X", 1307),
        ("AMD Instinct MI250X", 191.5),
        ("Apple M4", 4.6),
        ("Apple M4 Pro", 9.2),
        ("Apple M4 Max", 18.4),
    ],
)
def test_each_variant_has_its_own_dense_rate(name: str, bfloat16_tflops_per_s: float) -> None:
    rate = found(name).flops_per_s("bfloat16")
    assert rate == pytest.approx(bfloat16_tflops_per_s * 1e12, rel=0.005)


@pytest.mark.parametrize(
    "spelling",
    ["nvidia geforce rtx 4090", "GeForce RTX 4090", "NVIDIA(R) GeForce(TM) RTX 4090", "RTX-4090"],
)
def test_case_hyphens_trade_marks_and_maker_words_mean_nothing(spelling: str) -> None:
    assert lookup(spelling) == lookup("NVIDIA GeForce RTX 4090")


def test_the_memory_in_the_name_selects_the_bandwidth_of_an_a100() -> None:
    assert found("NVIDIA A100-SXM4-80GB").bandwidth_bytes_per_s == 2039e9
    assert found("NVIDIA A100-SXM4-40GB").bandwidth_bytes_per_s == 1555e9


def test_the_reported_memory_selects_where_the_name_does_not() -> None:
    assert found("A100 SXM", int(79.2 * GIB)).bandwidth_bytes_per_s == 2039e9
    assert found("A100 SXM", int(39.4 * GIB)).bandwidth_bytes_per_s == 1555e9


def test_what_variants_of_one_name_do_not_agree_on_is_unknown() -> None:
    peaks = found("NVIDIA A100")
    assert peaks.flops_per_s("bfloat16") == 312e12
    assert peaks.bandwidth_bytes_per_s is None
    assert peaks.memory_gib is None


@pytest.mark.parametrize(
    ("name", "reported_gib"),
    [("Tesla T4", 14.6), ("NVIDIA A40", 44.4), ("NVIDIA L4", 22.0), ("NVIDIA GH200 480GB", 94.5)],
)
def test_memory_lost_to_error_correction_is_still_the_same_device(
    name: str, reported_gib: float
) -> None:
    assert lookup(name, memory_bytes=int(reported_gib * GIB)) is not None


def test_a_device_with_another_memory_size_is_another_device() -> None:
    assert lookup("NVIDIA GeForce RTX 3080", memory_bytes=int(9.8 * GIB)) is not None
    assert lookup("NVIDIA GeForce RTX 3080", memory_bytes=int(11.8 * GIB)) is None


def test_a_format_that_the_chip_does_not_have_is_unknown_not_zero() -> None:
    assert found("Tesla V100-SXM2-32GB").flops_per_s("bfloat16") is None
    assert found("AMD Instinct MI250X").flops_per_s("tf32") is None


def test_a_misspelt_dtype_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match=r"did you mean bfloat16.*allowed: float32, tf32"):
        found("NVIDIA L4").flops_per_s("bf16")


def names_of(row: dict[str, Any]) -> str:
    return str(row["names"][0])


@pytest.mark.parametrize("row", rows(), ids=names_of)
def test_a_row_is_complete_and_plausible(row: dict[str, Any]) -> None:
    assert len(row["source"]) > 15
    assert re.fullmatch(r"20\d\d-[01]\d", row["as_of"])
    rates = row["flops_per_s"]
    assert set(rates) <= set(DTYPES)
    assert {"float32", "bfloat16"} & set(rates)
    numbers = [*rates.values(), row.get("bandwidth_bytes_per_s", 1e12)]
    assert all(math.isfinite(number) and number > 0 for number in numbers)
    assert all(1e12 < rate < 1e16 for rate in rates.values())
    assert rates.get("tf32", math.inf) >= rates.get("float32", 0)
    if {"tf32", "bfloat16"} <= set(rates):
        assert rates["bfloat16"] / rates["tf32"] == pytest.approx(2, rel=0.02)
    if {"bfloat16", "float16"} <= set(rates):
        assert rates["bfloat16"] == rates["float16"]
    doubled = row.get("float16_accumulate16_flops_per_s", 2 * rates.get("float16", 1))
    assert doubled == pytest.approx(2 * rates.get("float16", 1), rel=0.01)


@pytest.mark.parametrize("row", rows(), ids=names_of)
def test_every_row_is_found_by_every_name_it_lists(row: dict[str, Any]) -> None:
    for name in row["names"]:
        memory_gib = row.get("memory_gib")
        peaks = found(name, memory_gib and memory_gib * GIB)
        assert peaks.source == row["source"]
        assert peaks.flops_per_s_by_dtype == row["flops_per_s"]


def test_no_two_rows_answer_to_the_same_name_and_memory() -> None:
    patterns: list[tuple[str, int | None]] = []
    for row in rows():
        folded = {fold_name(name) for name in row["names"]}
        patterns += {(f.words, f.memory_gib or row.get("memory_gib")) for f in folded}
    assert len(patterns) == len(set(patterns))


@pytest.mark.parametrize(
    ("name", "dtype", "units", "flops_per_unit_and_clock", "clock_hz"),
    [
        # tensor: streaming multiprocessors x 1024 (A100), 2048 (H100) multiply-adds x 2
        ("NVIDIA A100-SXM4-80GB", "bfloat16", 108, 1024 * 2, 1.41e9),
        ("NVIDIA H100 80GB HBM3", "bfloat16", 132, 2048 * 2, 1.83e9),
        # vector: cores x 2
        ("NVIDIA A100-SXM4-80GB", "float32", 6912, 2, 1.41e9),
        ("NVIDIA GeForce RTX 4070 Ti", "float32", 7680, 2, 2.61e9),
        ("NVIDIA GeForce RTX 4090", "float32", 16384, 2, 2.52e9),
        ("NVIDIA GeForce RTX 5090", "float32", 21760, 2, 2.407e9),
        ("NVIDIA GeForce RTX 3090", "float32", 10496, 2, 1.695e9),
        # matrix: compute units x 2048, and x 256 for float32
        ("AMD Instinct MI300X", "bfloat16", 304, 2048, 2.1e9),
        ("AMD Instinct MI300X", "float32", 304, 256, 2.1e9),
        ("AMD Instinct MI250X", "bfloat16", 110, 1024, 1.7e9),
        ("Apple M1", "float32", 8, 256, 1.278e9),
        ("Apple M2", "float32", 10, 256, 1.398e9),
        ("Apple M4 Pro", "float32", 20, 256, 1.8e9),
    ],
)
def test_key_numbers_follow_from_units_and_clock(
    name: str, dtype: str, units: int, flops_per_unit_and_clock: int, clock_hz: float
) -> None:
    expected = units * flops_per_unit_and_clock * clock_hz
    assert found(name).flops_per_s(dtype) == pytest.approx(expected, rel=0.01)
