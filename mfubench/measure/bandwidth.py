"""Memory bandwidth at a working set: a cache feeds an operator faster than memory does."""

from __future__ import annotations

import bisect
from dataclasses import dataclass

import torch

from mfubench.hardware.devices import Device
from mfubench.measure.kernel_time import kernel_times_s

SIZES_BYTES = tuple(2**power for power in (16, 18, 20, 22, 24, 26, 28))
"""64 KiB to 256 MiB, all three arrays of a triad together."""
ROUND_S, ROUNDS = 0.004, 15
"""Of each size; the fastest round counts."""


@dataclass(frozen=True, slots=True)
class BandwidthCurve:
    """Measured triad bandwidth by working set."""

    bytes_per_s: dict[int, float]

    def at(self, working_set_bytes: float) -> float:
        """Bandwidth (bytes/s) of the smallest measured working set that holds the one asked for.

        >>> curve = BandwidthCurve({2**20: 100e9, 2**24: 50e9})
        >>> curve.at(5e5), curve.at(2e6), curve.at(1e12)
        (100000000000.0, 50000000000.0, 50000000000.0)
        """
        sizes = sorted(self.bytes_per_s)
        index = min(bisect.bisect_left(sizes, working_set_bytes), len(sizes) - 1)
        return self.bytes_per_s[sizes[index]]


def measure_curve(device: Device) -> BandwidthCurve:
    """c = a + 3 b at each size; the fastest of a few rounds. On a CPU dispatch is in it."""
    found = {}
    for size in SIZES_BYTES:
        count = size // 12
        a = torch.ones(count, device=device.torch_device)
        b, c = torch.ones_like(a), torch.empty_like(a)
        found[size] = 12 * count / _fastest_s(a, b, c, device)
    return BandwidthCurve(found)


def _fastest_s(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, device: Device) -> float:
    def once() -> None:
        torch.add(a, b, alpha=3.0, out=c)

    return min(kernel_times_s(device, once, round_s=ROUND_S, rounds=ROUNDS))
