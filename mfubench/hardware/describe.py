"""Everything this machine can say about itself, as plain data: what `mfubench device` prints."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from mfubench.hardware.ceiling_cache import CeilingCache
from mfubench.hardware.devices import DTYPES, Device, all_devices
from mfubench.hardware.fingerprint import fingerprint
from mfubench.hardware.pci import display_devices, vendor_name
from mfubench.hardware.provenance import settings, software


def describe_machine(results_dir: Path) -> dict[str, Any]:
    """Fingerprint, graphics devices by PCI id, every kind of device with its peaks, and the
    ceilings stored under `results_dir`. Imports torch; measures nothing but the CPU's clock."""
    identity = fingerprint()
    cache = CeilingCache(results_dir / identity.id / "ceilings.json")
    return {
        "fingerprint": identity.id,
        "parts": dict(identity.parts),
        "pci": [
            {
                "address": device.address,
                "ids": device.ids,
                "vendor": vendor_name(device.vendor_id),
            }
            for device in display_devices()
        ],
        "devices": [_describe(device) for device in all_devices()],
        "ceilings": [{**asdict(ceiling), "age_s": ceiling.age_s()} for ceiling in cache.stored()],
        "software": software(),
        "settings": settings(),
    }


def _describe(device: Device) -> dict[str, Any]:
    reason = device.unavailable_reason()
    if reason is not None:
        return {"kind": device.kind, "available": False, "reason": reason}
    peaks = {}
    for dtype in DTYPES:
        if device.unsupported_reason(dtype) is None:
            flops_per_s, source = device.peak(dtype)
            peaks[dtype] = {"flops_per_s": flops_per_s, "source": source}
    return {
        "kind": device.kind,
        "available": True,
        "name": device.name,
        "native_dtypes": list(device.native_dtypes()),
        "peaks": peaks,
        "description": device.description(),
    }
