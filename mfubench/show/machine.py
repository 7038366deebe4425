"""`mfubench device`: what this machine is, where its peaks come from, what it was seen to reach."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from mfubench.show.console import plain_console
from mfubench.show.units import UNKNOWN, format_bytes, format_duration, format_si

UNITS = {"gemm": "FLOP/s", "copy": "B/s", "triad": "B/s", "dispatch": "op/s"}


def machine_as_text(machine: Mapping[str, Any]) -> str:
    """The description of `hardware.describe.describe_machine` in at most 100 columns."""
    out = io.StringIO()
    console = plain_console(out)
    console.print(f"machine {machine['fingerprint']}")
    for device in machine["pci"]:
        vendor = device["vendor"] or "unknown vendor"
        console.print(f"  PCI {device['address']}: {vendor} ({device['ids']})")
    for device in machine["devices"]:
        console.print()
        if not device["available"]:
            console.print(f"{device['kind']}: not available: {device['reason']}")
            continue
        console.print(f"{device['kind']}: {device['name']}")
        memory = device["description"].get("total_memory_bytes")
        console.print(f"  memory {format_bytes(memory)}")
        for dtype, peak in device["peaks"].items():
            rate = format_si(peak["flops_per_s"], "FLOP/s")
            if rate == UNKNOWN:
                rate = "unknown"
            native = "" if dtype in device["native_dtypes"] else ", no instructions of its own"
            console.print(f"  peak {dtype}: {rate} ({peak['source']}{native})")
        measured = [
            c for c in machine["ceilings"] if c["device"].partition(":")[0] == device["kind"]
        ]
        for ceiling in measured:
            rate = format_si(ceiling["rate_per_s"], UNITS[ceiling["kind"]])
            what = " ".join(part for part in (ceiling["kind"], ceiling["dtype"]) if part)
            console.print(
                f"  measured {what}: {rate} ({ceiling['threads']} threads, torch "
                f"{ceiling['torch_version']}, {format_duration(ceiling['age_s'])} ago)"
            )
        if not measured:
            console.print("  measured: nothing yet; type: pytest benchmarks/test_ceilings.py")
    return out.getvalue().rstrip()
