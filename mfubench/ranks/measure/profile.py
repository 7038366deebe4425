"""Exposed communication by a profile: the union of its intervals, less what computed beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from mfubench.analysis.intervals import Interval, difference, total, union
from mfubench.hardware.devices import Device
from mfubench.ranks.measure.strategies import Strategy

STEPS = 4
MESSAGES = ("gloo:", "nccl:", "xccl:", "ncclDevKernel", "ncclKernel", "oneccl")
CALLS = ("c10d::", "FSDP::", "DistributedDataParallel", "ProfilerStep")
"""Around messages; no work of their own."""


def profiled_exposed_s(step: Strategy, device: Device) -> float | None:
    """Seconds per step in which a message was under way and nothing computed, waiting for slower
    ranks included; None where the profile shows no message."""
    activities = [ProfilerActivity.CPU]
    if device.kind == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiled:
        for _ in range(STEPS):
            step()
    return exposed_s(profiled.events() or [], on_device=device.has_queue, steps=STEPS)


def exposed_s(events: Iterable[Any], *, on_device: bool, steps: int) -> float | None:
    """The same of a profile's events: kernels of a device with a queue, operators else."""
    messages: list[Interval] = []
    work: list[Interval] = []
    for event in events:
        is_kernel = event.device_type != DeviceType.CPU
        if is_kernel != on_device:
            continue
        span = (round(event.time_range.start * 1e3), round(event.time_range.end * 1e3))
        if event.name.startswith(MESSAGES):
            messages.append(span)
        elif on_device or (event.name.startswith("aten::") and not event.is_async):
            work.append(span)
    if not messages:
        return None
    return _exposed_ns(messages, work) / 1e9 / steps


def _exposed_ns(messages: Sequence[Interval], work: Sequence[Interval]) -> int:
    """
    >>> _exposed_ns([(0, 10), (20, 30)], [(5, 25)])
    10
    """
    return total(difference(union(messages), union(work)))
