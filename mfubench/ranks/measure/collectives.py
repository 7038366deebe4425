"""Collectives as ceilings, on the run's own process group.

Bandwidths as nccl-tests defines them (its PERFORMANCE.md): the algorithm's is bytes over seconds;
the bus's is that times 2 (n - 1) / n for all-reduce, (n - 1) / n for all-gather and reduce-scatter,
and 1 for broadcast, so that it can be held against the speed of the link whatever n is.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from mfubench.hardware.devices import Device
from mfubench.ranks.measure.communication import all_gather, reduce_scatter
from mfubench.ranks.measure.group import Ranks
from mfubench.ranks.rules.bandwidth import BUS_FACTORS
from mfubench.ranks.rules.turns import Message

TRIED = (
    *itertools.product(("float32",), (1 << 16, 1 << 20, 1 << 23)),
    ("bfloat16", 1 << 20),
)
"""Dtypes and bytes, beside the messages that the step itself sends."""
REPEATS = 5
LONGEST_S = 0.5
"""A size that takes longer is measured with fewer repeats."""


def measure_collectives(
    ranks: Ranks,
    device: Device,
    used: Sequence[Message],
) -> list[dict[str, Any]]:
    """Every collective by size and dtype, and the messages that a step of the run `used`. One that
    a backend does not have is left out."""
    of_step = {(m.collective, m.dtype, m.bytes) for m in used}
    wanted = of_step | {(name, *how) for name in BUS_FACTORS for how in TRIED}
    found = []
    for name, dtype, size in sorted(wanted):
        seconds = _seconds(ranks, device, name, getattr(torch, dtype), size)
        if seconds is not None:
            is_used = (name, dtype, size) in of_step
            found.append(_rate(name, dtype, size, seconds, ranks.count, is_used))
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
        "all-gather": lambda: all_gather(whole, part),
        "reduce-scatter": lambda: reduce_scatter(part, whole),
        "broadcast": lambda: dist.broadcast(whole, 0),
    }
