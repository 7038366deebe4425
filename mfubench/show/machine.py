"""`mfubench device`: what this machine is, where its peaks come from, what it was seen to reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mfubench.show.console import wrapped
from mfubench.show.units import UNKNOWN, format_bytes, format_duration, format_si

UNITS = {"gemm": "FLOP/s", "copy": "B/s", "triad": "B/s"}
LABEL_WIDTH = 21


def machine_as_text(machine: Mapping[str, Any]) -> str:
    """The description of `hardware.describe.describe_machine`, as wide as the terminal."""
    return "\n".join(_lines(machine))


def _lines(machine: Mapping[str, Any]) -> Iterator[str]:
    yield f"machine {machine['fingerprint']}"
    for device in machine["pci"]:
        vendor = device["vendor"] or "unknown vendor"
        yield _field(f"PCI {device['address']}", f"{vendor} ({device['ids']})")
    absent = []
    for device in machine["devices"]:
        if device["available"]:
            yield ""
            yield f"{device['kind']}: {device['name']}"
            yield from _device(device, machine["ceilings"])
        else:
            absent.append((device["kind"], device["reason"]))
    if absent:
        yield ""
        yield "not available"
        yield from (_field(kind, reason) for kind, reason in absent)


def _device(device: Mapping[str, Any], ceilings: Any) -> Iterator[str]:
    memory = device["description"].get("total_memory_bytes")
    yield _field("memory", format_bytes(memory))
    said: dict[str, str] = {}
    for dtype, peak in device["peaks"].items():
        rate = format_si(peak["flops_per_s"], "FLOP/s")
        rate = "unknown" if rate == UNKNOWN else rate
        text = f"{rate} ({peak['source']})"
        if dtype not in device["native_dtypes"]:
            text = f"{rate}, converted to float32: no instructions of its own"
        elif peak["source"] in said:  # once is enough
            text = f"{rate} (as {said[peak['source']]})"
        said.setdefault(peak["source"], dtype)
        yield _field(f"peak {dtype}", text)
    measured = [c for c in ceilings if c["device"].partition(":")[0] == device["kind"]]
    for ceiling in measured:
        what = " ".join(part for part in (ceiling["kind"], ceiling["dtype"]) if part)
        threads = ceiling["threads"]
        how = (
            f"{threads} {'thread' if threads == 1 else 'threads'}, "
            f"torch {ceiling['torch_version']}, {format_duration(ceiling['age_s'])} ago"
        )
        yield _field(f"measured {what}", f"{_rate(ceiling)} ({how})")
    if not measured:
        yield _field("measured", "nothing yet; type: mfubench bench --only ceilings")


def _rate(ceiling: Mapping[str, Any]) -> str:
    """A ceiling in the unit that a run prints it in.

    >>> _rate({"kind": "dispatch", "rate_per_s": 8e5}), _rate({"kind": "copy", "rate_per_s": 3e10})
    ('1.25 µs per operation', '30.0 GB/s')
    """
    if ceiling["kind"] == "dispatch":
        return f"{format_duration(1 / ceiling['rate_per_s'])} per operation"
    return format_si(ceiling["rate_per_s"], UNITS[ceiling["kind"]])


def _field(name: str, text: str) -> str:
    return wrapped(text, begin=f"  {name:<{LABEL_WIDTH}} ")
