"""What NVIDIA's driver says of a GPU at work, by the program that comes with it: torch needs
a further package for it, which few have."""

from __future__ import annotations

from typing import Any

from mfubench.hardware.textfile import output_of

_FIELDS = {
    "clock_mhz": "clocks.sm",
    "clock_max_mhz": "clocks.max.sm",
    "power_w": "power.draw",
    "power_limit_w": "power.limit",
    "temperature_c": "temperature.gpu",
}
_REASONS = "clocks_throttle_reasons.active"
_BITS = {
    0x2: "application clocks",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "temperature (driver)",
    0x40: "temperature (hardware)",
    0x80: "power brake",
    0x100: "display clock",
}
"""nvml.h, nvmlClocksThrottleReason…; idle (0x1) holds nothing back."""


def gpu_state(uuid: str) -> dict[str, Any]:
    """Clock, power, temperature and what holds the clocks back, of the GPU with this UUID; empty
    where the driver does not say."""
    text = output_of(
        "nvidia-smi",
        f"--id=GPU-{uuid}",
        f"--query-gpu={','.join([*_FIELDS.values(), _REASONS])}",
        "--format=csv,noheader,nounits",
    )
    return parsed(text or "")


def parsed(line: str) -> dict[str, Any]:
    """One line of nvidia-smi's table; a field that it does not know is None.

    >>> parsed("1980, 1980, 412.3, 700.00, 58, 0x0000000000000004")["throttled_by"]
    ['power cap']
    >>> parsed("[N/A], 1980, 412.3, 700.00, 58, 0x0000000000000000")["clock_mhz"] is None
    True
    """
    values = [value.strip() for value in line.split(",")]
    if len(values) != len(_FIELDS) + 1:
        return {}
    found: dict[str, Any] = {
        name: _number(value) for name, value in zip(_FIELDS, values, strict=False)
    }
    try:
        mask = int(values[-1], 16)
    except ValueError:
        found["throttled_by"] = None
    else:
        found["throttled_by"] = [name for bit, name in _BITS.items() if mask & bit]
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
