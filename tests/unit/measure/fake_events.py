"""Events as torch's profiler hands them out, built by hand: what the tree reads, and no more."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


@dataclass(eq=False)
class FakeEvent:
    """One event from `start` to `end`, in microseconds."""

    name: str
    start: float
    end: float
    below: list[FakeEvent] = field(default_factory=list)
    kernels_us: tuple[float, ...] = ()
    kernel_name: str = "a kernel"
    thread: int = 1
    device: str = "CPU"
    cpu_parent: FakeEvent | None = None
    sequence_nr: int = -1
    fwd_thread: int = 0
    id: int = 0
    """The same for a launch and its kernels."""
    linked_correlation_id: int = 0
    """Of a kernel: the `id` of the operator that launched it."""

    def __post_init__(self) -> None:
        for child in self.below:
            child.cpu_parent = self

    @property
    def cpu_children(self) -> list[FakeEvent]:
        return self.below

    @property
    def self_cpu_time_total(self) -> float:
        return self.end - self.start - sum(c.end - c.start for c in self.below)

    @property
    def time_range(self) -> Any:
        return SimpleNamespace(
            start=self.start, end=self.end, elapsed_us=lambda: self.end - self.start
        )

    @property
    def kernels(self) -> list[Any]:
        return [SimpleNamespace(name=self.kernel_name, duration=us) for us in self.kernels_us]

    @property
    def device_type(self) -> Any:
        return SimpleNamespace(name=self.device)


def all_of(*roots: FakeEvent) -> list[FakeEvent]:
    """The flat list that a profiler gives."""
    found = []
    for root in roots:
        found.append(root)
        found += all_of(*root.below)
    return found
