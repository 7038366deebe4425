"""Graphics devices are known by PCI numbers, whatever the machine's sysfs looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mfubench.hardware.pci import (
    PciDevice,
    display_devices,
    listed_vendors,
    parse_lspci,
    vendor_name,
)

if TYPE_CHECKING:
    from pathlib import Path


def add_device(root: Path, address: str, vendor: str, device: str, class_code: str) -> Path:
    folder = root / "bus/pci/devices" / address
    folder.mkdir(parents=True)
    for name, text in (("vendor", vendor), ("device", device), ("class", class_code)):
        (folder / name).write_text(f"{text}\n")
    return folder


def test_an_intel_gpu_is_intel_by_its_number(tmp_path: Path) -> None:
    add_device(tmp_path, "0000:00:02.0", "0x8086", "0x46a6", "0x030000")
    (device,) = display_devices(tmp_path)
    assert device == PciDevice("0000:00:02.0", 0x8086, 0x46A6, 0x030000)
    assert device.vendor == "Intel"


@pytest.mark.parametrize("vendor_id", [0x1002, 0x1022])
def test_both_ids_of_amd_are_amd(vendor_id: int) -> None:
    assert vendor_name(vendor_id) == "AMD"


def test_only_display_controllers_and_accelerators_are_listed(tmp_path: Path) -> None:
    add_device(tmp_path, "0000:03:00.0", "0x1002", "0x74a1", "0x120000")
    add_device(tmp_path, "0000:01:00.0", "0x10de", "0x2782", "0x030000")
    add_device(tmp_path, "0000:02:00.0", "0x8086", "0x1533", "0x020000")
    assert [device.ids for device in display_devices(tmp_path)] == ["10de:2782", "1002:74a1"]


def test_no_sysfs_means_no_devices(tmp_path: Path) -> None:
    assert display_devices(tmp_path / "nothing") == []


def test_a_malformed_or_incomplete_device_is_left_out(tmp_path: Path) -> None:
    add_device(tmp_path, "0000:01:00.0", "not a number", "0x2782", "0x030000")
    incomplete = add_device(tmp_path, "0000:02:00.0", "0x10de", "0x2782", "0x030000")
    (incomplete / "class").unlink()
    undecodable = add_device(tmp_path, "0000:03:00.0", "0x10de", "0x2782", "0x030000")
    (undecodable / "vendor").write_bytes(b"\xff\xfe")
    good = add_device(tmp_path, "0000:04:00.0", "0x10de", "0x2782", "0x030000")
    assert [device.address for device in display_devices(tmp_path)] == [good.name]


def test_lines_of_lspci_that_cannot_be_read_are_left_out() -> None:
    text = (
        '0000:00:02.0 "VGA compatible controller" "Intel Corporation" "UHD Graphics"\n'
        '0000:01:00.0 "unclosed\n'
        "0000:02:00.0\n"
        "\n"
        '0000:03:00.0 "3D controller" "NVIDIA Corporation" "AD104" -ra1 "" ""\n'
    )
    assert parse_lspci(text) == {
        "0000:00:02.0": "Intel Corporation",
        "0000:03:00.0": "NVIDIA Corporation",
    }


def test_without_lspci_no_vendor_is_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert listed_vendors() == {}
