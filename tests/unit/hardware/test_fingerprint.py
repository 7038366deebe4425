"""A fingerprint stays when only order changes and differs when the hardware does."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from mfubench.hardware.fingerprint import fingerprint, hardware_parts, relevant_flags

if TYPE_CHECKING:
    from pathlib import Path

PARTS: dict[str, Any] = {
    "system": "Linux",
    "arch": "x86_64",
    "cpu_vendor": "AuthenticAMD",
    "cpu_model_name": "AMD EPYC",
    "cpu_flags": ["avx2", "fma"],
    "usable_cores": 2.0,
    "memory_gib": 24,
    "pci": ["10de:2782"],
}


def test_the_order_of_the_parts_does_not_matter() -> None:
    assert fingerprint(dict(reversed(PARTS.items()))).id == fingerprint(PARTS).id


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("usable_cores", 4.0),
        ("memory_gib", 32),
        ("cpu_flags", ["avx2"]),
        ("pci", []),
        ("arch", "x"),
    ],
)
def test_other_hardware_has_another_id(part: str, value: object) -> None:
    assert fingerprint({**PARTS, part: value}).id != fingerprint(PARTS).id


def test_an_id_is_readable() -> None:
    assert re.fullmatch(r"amd-epyc-2c-24g-[0-9a-f]{8}", fingerprint(PARTS).id)


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz", "intel-xeon-gold-"),
        ("AMD Ryzen 9 7950X 16-Core Processor", "amd-ryzen-9-"),
        ("Apple M4 Pro", "apple-m4-pro-"),
        ("../../etc/passwd", "etc-passwd-"),
        ("", "cpu-"),
        ("中文", "cpu-"),
    ],
)
def test_an_id_is_safe_in_a_path_whatever_the_cpu_is_called(name: str, start: str) -> None:
    machine = fingerprint({**PARTS, "cpu_model_name": name, "usable_cores": 1.5})
    assert machine.id.startswith(start)
    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,80}", machine.id)


def test_this_machine_has_the_same_id_twice() -> None:
    first, second = fingerprint(), fingerprint()
    assert first.id == second.id
    json.dumps(dict(first.parts))


def test_nothing_that_moves_or_is_private_is_in_it(tmp_path: Path) -> None:
    names = " ".join(hardware_parts(tmp_path)).casefold()
    assert not re.search(r"clock|mhz|host|torch|kernel|free|available|load|serial", names)


def test_only_flags_that_matter_for_arithmetic_are_kept() -> None:
    assert relevant_flags({"fma", "avx2", "ibrs", "hypervisor", "tsc"}) == ["avx2", "fma"]
