"""Collectives as ceilings, on the run's own process group.

Bandwidths as nccl-tests defines them (its PERFORMANCE.md): the algorithm's is bytes over seconds;
the bus's is that times 2 (n - 1) / n for all-reduce, (n - 1) / n for all-gather and reduce-scatter,
and 1 for broadcast, so that it can be held against the speed of the link whatever n is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from mfubench.hardware.devices import Device
from mfubench.ranks.measure.group import Ranks
from mfubench.ranks.rules.bandwidth import BUS_FACTORS

SIZES_BYTES = (1 << 12, 1 << 16, 1 << 20, 1 << 23)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
REPEATS = 7
LONGEST_S = 0.5
"""A size that takes longer is measured with fewer repeats."""


def measure_collectives(
    ranks: Ranks, device: Device, used_bytes: int | None, sizes: tuple[int, ...] = SIZES_BYTES
) -> list[dict[str, Any]]:
    """Every collective by size and dtype; `used_bytes` is what a step of the run all-reduces. One
    that a backend does not have is left out."""
    found = []
    for name in BUS_FACTORS:
        for dtype, kind in DTYPES.items():
            wanted = set(sizes) | ({used_bytes} if used_bytes and dtype == "float32" else set())
            for size in sorted(wanted):
                used = size == used_bytes and name == "all-reduce" and dtype == "float32"
                seconds = _seconds(ranks, device, name, kind, size)
                if seconds is not None:
                    found.append(_rate(name, dtype, size, seconds, ranks.count, used))
    return found


def _rate(
    name: str, dtype: str, size: int, seconds: float, ranks: int, used: bool
) -> dict[str, Any]:
    return {
        "collective": name,
        "dtype": dtype,
        "bytes": size,
        "seconds": seconds,
        "algorithm_bytes_per_s": size / seconds,
        "bus_bytes_per_s": size / seconds * BUS_FACTORS[name](ranks),
        "used_by_step": used,
    }


def _seconds(
    ranks: Ranks, device: Device, name: str, dtype: torch.dtype, size: int
) -> float | None:
    elements = max(ranks.count, size // dtype.itemsize // ranks.count * ranks.count)
    whole = torch.ones(elements, dtype=dtype, device=device.torch_device)
    part = torch.ones(elements // ranks.count, dtype=dtype, device=device.torch_device)
    run = _calls(whole, part)[name]
    times_s: list[float] = []
    try:
        run()
        for _ in range(REPEATS):
            ranks.wait()
            start_s = time.perf_counter()
            run()
            device.synchronise()
            # The slowest rank's: a collective has ended when it has ended everywhere.
            times_s.append(ranks.largest(time.perf_counter() - start_s))
            if sum(times_s) > LONGEST_S:
                break
    except (NotImplementedError, TypeError):
        return None
    return median(times_s)


def _calls(whole: Tensor, part: Tensor) -> dict[str, Callable[[], Any]]:
    return {
        "all-reduce": lambda: dist.all_reduce(whole),
        "all-gather": lambda: dist.all_gather_into_tensor(whole, part),
        "reduce-scatter": lambda: dist.reduce_scatter_tensor(part, whole),
        "broadcast": lambda: dist.broadcast(whole, 0),
    }
