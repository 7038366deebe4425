"""The devices of this machine, and how to name one."""

from __future__ import annotations

import difflib
import re

from mfubench.hardware.device_base import Device, DeviceKind, is_out_of_memory
from mfubench.hardware.device_cpu import CpuDevice
from mfubench.hardware.device_cuda import CudaDevice
from mfubench.hardware.device_mps import MpsDevice
from mfubench.hardware.device_xpu import XpuDevice
from mfubench.hardware.dtypes import DTYPES

__all__ = [
    "DEVICE_KINDS",
    "DTYPES",
    "CpuDevice",
    "CudaDevice",
    "Device",
    "DeviceKind",
    "MpsDevice",
    "UnknownDeviceError",
    "XpuDevice",
    "all_devices",
    "available_devices",
    "is_out_of_memory",
    "parse_device",
]

DEVICE_KINDS: tuple[DeviceKind, ...] = ("cpu", "cuda", "xpu", "mps")

#: What people type for a device that torch calls otherwise.
_OTHER_WORDS = {
    "gpu": "cuda",
    "nvidia": "cuda",
    "rocm": "cuda",
    "hip": "cuda",
    "amd": "cuda",
    "intel": "xpu",
    "metal": "mps",
    "apple": "mps",
}


class UnknownDeviceError(ValueError):
    """The text does not name a device."""


def parse_device(text: str) -> Device:
    """The device called ``text``: "cpu", "cuda", "cuda:1", "xpu", "mps". It may be absent.

    >>> parse_device("cuda:1").index
    1
    >>> parse_device("rocm")
    Traceback (most recent call last):
        ...
    mfubench.hardware.devices.UnknownDeviceError: 'rocm' is not a known device; did you mean 'cuda'?
    allowed: cpu, cuda, xpu, mps, and cuda:N or xpu:N for one of several
    """
    match = re.fullmatch(
        r"(?:(cpu|mps)(?::0+)?|(cuda|xpu)(?::(\d{1,4}))?)", text.strip().casefold()
    )
    if match is None:
        raise UnknownDeviceError(
            f"{text!r} is not a known device;{_hint(text)} allowed: {', '.join(DEVICE_KINDS)}, "
            "and cuda:N or xpu:N for one of several"
        )
    single, several, index = match.groups()
    if several:
        return (CudaDevice if several == "cuda" else XpuDevice)(int(index or 0))
    return CpuDevice() if single == "cpu" else MpsDevice()


def all_devices() -> list[Device]:
    """One device of every known kind, present or not."""
    return [CpuDevice(), CudaDevice(), XpuDevice(), MpsDevice()]


def available_devices() -> list[Device]:
    """The first device of every kind that can be used here; the CPU always can."""
    return [device for device in all_devices() if device.unavailable_reason() is None]


def _hint(text: str) -> str:
    word = text.strip().casefold().partition(":")[0]
    known = {kind: kind for kind in DEVICE_KINDS} | _OTHER_WORDS
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" did you mean {known[close[0]]!r}?" if close else ""
