"""Graphics devices by PCI identity, read from sysfs.

A vendor is a number that the PCI-SIG assigned, not a word in a text: the human-readable listing of
the same device changes with the age of a name database, and scripts that search it for a vendor's
name have labelled an Intel GPU "AMD". Only Linux has sysfs; elsewhere the list is empty.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from mfubench.hardware.textfile import integer_of, output_of

#: Vendor ids of the PCI-SIG. AMD has two: 0x1002 came with ATI, 0x1022 is its own.
VENDORS: dict[int, str] = {
    0x8086: "Intel",
    0x10DE: "NVIDIA",
    0x1002: "AMD",
    0x1022: "AMD",
    0x106B: "Apple",
}

#: Base classes of the PCI Code and ID Assignment Specification, the top byte of the class code.
_DISPLAY_CONTROLLER = 0x03
_PROCESSING_ACCELERATOR = 0x12


@dataclass(frozen=True, slots=True, order=True)
class PciDevice:
    """One PCI function. ``class_code`` holds 24 bits: base class, subclass, interface."""

    address: str
    vendor_id: int
    device_id: int
    class_code: int

    @property
    def vendor(self) -> str | None:
        """The vendor's name, None where the id is not in `VENDORS`."""
        return vendor_name(self.vendor_id)

    @property
    def ids(self) -> str:
        """Vendor and device id as usually written.

        >>> PciDevice("0000:01:00.0", 0x10DE, 0x2782, 0x030000).ids
        '10de:2782'
        """
        return f"{self.vendor_id:04x}:{self.device_id:04x}"


def vendor_name(vendor_id: int) -> str | None:
    """The vendor behind a PCI vendor id, None where it is not one that makes GPUs known here.

    >>> vendor_name(0x8086), vendor_name(0x1234)
    ('Intel', None)
    """
    return VENDORS.get(vendor_id)


def display_devices(sysfs_root: Path = Path("/sys")) -> list[PciDevice]:
    """Display controllers and processing accelerators, sorted by address.

    A device whose files are missing, unreadable or malformed is left out: a half-known device
    would be worse in a fingerprint than none.
    """
    try:
        folders = list((sysfs_root / "bus/pci/devices").iterdir())
    except OSError:
        return []
    found = (_read_device(folder) for folder in folders)
    return sorted(device for device in found if device is not None and _is_graphics(device))


def listed_vendors() -> dict[str, str]:
    """What `lspci` prints as the vendor of each address; empty where it is not installed.

    For comparison only: an identity comes from the vendor id.
    """
    return parse_lspci(output_of("lspci", "-D", "-mm") or "")


def parse_lspci(text: str) -> dict[str, str]:
    """Address to vendor text, from the machine-readable lines of `lspci -D -mm`.

    >>> parse_lspci('0000:00:02.0 "VGA compatible controller" "Intel Corporation" "UHD" -r02 ""')
    {'0000:00:02.0': 'Intel Corporation'}
    """
    vendors = {}
    for line in text.splitlines():
        try:
            address, _, vendor, *_ = shlex.split(line)
        except ValueError:  # an unclosed quotation mark, or fewer than three fields
            continue
        vendors[address] = vendor
    return vendors


def _is_graphics(device: PciDevice) -> bool:
    return device.class_code >> 16 in (_DISPLAY_CONTROLLER, _PROCESSING_ACCELERATOR)


def _read_device(folder: Path) -> PciDevice | None:
    vendor_id, device_id, class_code = (
        integer_of(folder / name, 16) for name in ("vendor", "device", "class")
    )
    if vendor_id is None or device_id is None or class_code is None:
        return None
    return PciDevice(folder.name, vendor_id, device_id, class_code)
