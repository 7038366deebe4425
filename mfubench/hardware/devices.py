"""The devices of this machine, and how to name one."""

from __future__ import annotations

import re

from mfubench.hardware.device_base import Device, DeviceKind, is_out_of_memory
from mfubench.hardware.device_cpu import CpuDevice
from mfubench.hardware.device_cuda import CudaDevice
from mfubench.hardware.device_mps import MpsDevice
from mfubench.hardware.device_xpu import XpuDevice
from mfubench.hardware.dtypes import DTYPES
from mfubench.words import did_you_mean

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


class UnknownDeviceError(ValueError):
    """The text does not name a device."""


def parse_device(text: str) -> Device:
    """The device called ``text``: "cpu", "cuda", "cuda:1", "xpu", "mps". It may be absent.

    >>> parse_device("cuda:1").index
    1
    >>> parse_device("rocm")
    Traceback (most recent call last):
        ...
    mfubench.hardware.devices.UnknownDeviceError: 'rocm' is not a known device; did you mean cuda?
    allowed: cpu, cuda, xpu, mps, and cuda:N or xpu:N for one of several
    """
    match = re.fullmatch(
        r"(?:(cpu|mps)(?::0+)?|(cuda|xpu)(?::(\d{1,4}))?)", text.strip().casefold()
    )
    if match is None:
        hint = did_you_mean(text.partition(":")[0], DEVICE_KINDS)
        raise UnknownDeviceError(
            f"{text!r} is not a known device{hint or ';'} allowed: {', '.join(DEVICE_KINDS)}, "
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
