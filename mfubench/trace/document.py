"""What `mfubench trace` prints with --json and saves: the account of every step of every rank.

One declaration is type, validation and JSON Schema. Times are seconds, rates FLOP/s, shares
fractions of one, unknown is null.
"""

from __future__ import annotations

import msgspec


class Bar(msgspec.Struct, kw_only=True):
    """A part of a step. The bars of a step add up to it."""

    name: str
    seconds: float
    """Time that is this bar's alone; of several pieces of work at once only one counts."""
    device_sum_s: float = 0.0
    """Sum over its kernels, what ran beside others included; 0 for idle time."""
    kernels: float = 0
    """Kernels, copies and fills that started in the step."""
    graph_s: float = 0.0
    """Of `device_sum_s`, what CUDA or HIP graphs replayed."""


class Gemm(msgspec.Struct, kw_only=True):
    """One kind of matrix product, convolution or attention: same operator, sizes and format."""

    operator: str
    sizes: str
    dtype: str
    calls: float
    seconds: float
    """Of its kernels in the step."""
    flops: float
    flops_per_s: float
    of_peak: float | None
    """Share of the device's peak in its format."""
    kernel: str
    """The kernel that took most of it."""


class Kernel(msgspec.Struct, kw_only=True):
    """All runs of one kernel in a step."""

    name: str
    bar: str
    kernels: int
    seconds: float


class Stream(msgspec.Struct, kw_only=True):
    """One stream of the device in a step."""

    name: str
    kernels: int
    busy_s: float


class Span(msgspec.Struct, kw_only=True):
    """A stretch of a row of the time line in which one bar ran most of the time."""

    row: str
    """A stream of the device, or `idle` for the reasons of its idle time."""
    start_s: float
    """From the start of the step."""
    end_s: float
    bar: str
    share: float
    """Of the stretch, how much the row was busy, in eighths."""


class Step(msgspec.Struct, kw_only=True):
    """One step of one rank."""

    name: str
    rank: int | None
    step_s: float
    device_busy_s: float | None
    """At least one kernel, copy or fill ran: the union of their intervals. Null, like what
    follows from it, where no device event is recorded."""
    device_sum_s: float | None
    """The sum of their intervals. What it exceeds `device_busy_s` by is overlap."""
    device_idle_s: float | None
    unlinked_s: float | None
    """Device time for which the trace has no call on the host."""
    communication_s: float | None
    """Some collective ran, whether or not something else ran beside it."""
    communication_exposed_s: float | None
    """A collective ran and nothing was calculated beside it."""
    communication_waiting_s: float | None = None
    """Of the collectives' time, waiting for the slowest rank; null for one rank alone."""
    earlier_launch_s: float = 0.0
    """Device time that the host launched before the step began."""
    operators: int
    """Operators that started on the host in the step."""
    launches: int
    """Calls that launched kernels, copies, fills or graphs."""
    graph_launches: int
    lost_launches: int = 0
    """Launches of kernels of which no kernel is recorded."""
    flops: float | None = None
    """Of the products, convolutions and attention whose sizes were recorded."""
    counted_s: float = 0.0
    """Kernel time of those."""
    countable_s: float = 0.0
    """Kernel time of all products, convolutions and attention."""
    mfu: float | None = None
    account: list[Bar]
    gemms: list[Gemm] = []
    kernels: list[Kernel] = []
    streams: list[Stream] = []
    timeline: list[Span] = []
    """Of the median step only."""


class Rank(msgspec.Struct, kw_only=True):
    """One trace file: the work of one process on one device."""

    file: str
    rank: int | None
    world_size: int | None
    device: str | None
    steps: int
    median_step: str
    """The step whose time is the median (of an even number, the shorter of the middle two) of
    those that link to the host, or of all where none does."""
    record_s: float
    """From the first device event to the end of the last, in steps and between them."""
    record_busy_s: float
    record_communication_s: float
    record_exposed_s: float
    record_unlinked_s: float
    notes: list[str] = []


class Device(msgspec.Struct, kw_only=True):
    """What the kernels ran on, and what its maker promises."""

    name: str | None
    """As the trace says, or as --device gave it; null where neither does."""
    peaks_flops_per_s: dict[str, float] = {}
    bandwidth_bytes_per_s: float | None = None
    source: str = ""


class TraceAccount(msgspec.Struct, kw_only=True):
    """The body of a document of kind "trace"."""

    device: Device
    ranks: list[Rank]
    marked: bool
    """Whether steps were marked in the trace; else each trace is one window."""
    steps: list[Step]
    notes: list[str] = []

    def __post_init__(self) -> None:
        told = {(step.rank, step.name) for step in self.steps}
        for rank in self.ranks:
            if (rank.rank, rank.median_step) not in told:
                raise ValueError(f"Expected a step named {rank.median_step!r} of {rank.file}")
