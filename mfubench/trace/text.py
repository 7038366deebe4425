"""A trace's account as text: the median step, every step beside it, and what its products reach."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table

from mfubench.analysis import components
from mfubench.show.console import as_text, plain_table
from mfubench.show.svg import clean
from mfubench.show.units import UNKNOWN, format_duration, format_share, format_si
from mfubench.trace import idle
from mfubench.trace.bars import COMMUNICATION, HOST_COPIES, OTHER, OUTSIDE, UNLINKED
from mfubench.trace.document import Bar, Gemm, Rank, Step, TraceAccount

LABELS = {
    components.GEMM: "GEMMs and convolutions",
    components.COPIES: "casts and copies on the device",
    components.CLIP: "gradient clip",
    components.DISPATCH: "views, autograd engine",
    components.RESIDUAL: "additions (residual, bias)",
    COMMUNICATION: "communication, exposed",
    HOST_COPIES: "copies to and from the host",
    OTHER: "other operators",
    OUTSIDE: "kernels outside any operator",
    UNLINKED: "links to nothing",
}
"""Bars whose name alone would not say it."""
SHOWN_GEMMS, SHOWN_STEPS, SHOWN_KERNELS = 10, 12, 25
IDLE_BARS = frozenset(idle.REASONS)


def bar_label(name: str) -> str:
    """A bar as people read it."""
    return LABELS.get(name, clean(name))


def trace_text(account: TraceAccount, *, kernels: bool = False, color: bool = False) -> str:
    """The whole account as text of at most 100 columns."""
    parts: list[RenderableType] = []
    for rank in account.ranks:
        own = steps_of(account, rank)
        step = median_step(rank, own)
        parts += [f"{title(rank)}. {sentences(rank, step)}", "", account_table(step, own), ""]
        if len(own) > 1:
            parts += [step_table(own), ""]
        if step.gemms:
            parts += [gemm_table(step.gemms), ""]
        if kernels and step.kernels:
            parts += [kernel_table(step), ""]
        parts += [f"Note: {note}." for note in rank.notes]
    parts += [clean(f"Note: {note}.") for note in account.notes]
    return as_text(*parts, color=color)


def steps_of(account: TraceAccount, rank: Rank) -> list[Step]:
    """The steps of one rank, in their order."""
    return [step for step in account.steps if step.rank == rank.rank]


def median_step(rank: Rank, own: Sequence[Step]) -> Step:
    """The step that is shown for all: the one whose time is the median."""
    return next(step for step in own if step.name == rank.median_step)


def title(rank: Rank) -> str:
    """Which trace: its file, its rank, its device."""
    parts = [rank.file]
    if rank.rank is not None:
        parts.append(f"rank {rank.rank} of {rank.world_size or '?'}")
    return clean(", ".join([*parts, rank.device or "no device"]))


def sentences(rank: Rank, step: Step) -> str:
    """What matters most, first: how busy the device is, with what, and why it is not."""
    took = format_duration(step.step_s)
    bars = sorted(step.account, key=lambda bar: -bar.seconds)
    if step.device_busy_s is None:
        largest = ", ".join(f"{bar_label(bar.name)} {_of(bar, step)}" for bar in bars[:3])
        return f"On the host, {step.name} takes {took}: {largest}."
    busy = _percent(step.device_busy_s, step)
    told = [f"In {step.name} ({took}) the device is busy for {busy} of the time."]
    if work := [bar for bar in bars if bar.name not in IDLE_BARS][:3]:
        named = ", ".join(f"{bar_label(bar.name)} {_of(bar, step)}" for bar in work)
        told.append(f"Most of it: {named}.")
    reasons = [bar for bar in bars if bar.name in IDLE_BARS]
    idle_s = step.device_idle_s or 0.0
    if reasons and idle_s > 0.01 * step.step_s:
        why = reasons[0].name.removeprefix("idle: ")
        told.append(
            f"It is idle for {_percent(idle_s, step)}, mostly: {why} ({_of(reasons[0], step)})."
        )
    overlap_s = (step.device_sum_s or 0.0) - step.device_busy_s
    if overlap_s > 0.005 * step.step_s:
        told.append(f"For {_percent(overlap_s, step)} more, streams ran beside each other.")
    if step.communication_s:
        hidden = 1 - (step.communication_exposed_s or 0.0) / step.communication_s
        how_much = format_share(hidden, digits=2) if hidden > 0 else "nothing"
        told.append(
            f"Communication runs for {_percent(step.communication_s, step)}; {how_much} of that is "
            "hidden behind calculation."
        )
    if step.communication_waiting_s is not None:
        told.append(
            f"Of that, {_percent(step.communication_waiting_s, step)} of the step is waiting for "
            "the slowest rank."
        )
    if step.mfu is not None:
        told.append(f"MFU {format_share(step.mfu)}{_covered(step)}.")
    return " ".join(told)


def _covered(step: Step) -> str:
    """How much of the products' time the FLOPs are known for."""
    if step.countable_s <= 0 or step.counted_s >= 0.995 * step.countable_s:
        return ""
    return (
        f" at least: the sizes of {format_share(step.counted_s / step.countable_s, digits=2)} of "
        "the products' time are recorded"
    )


def _percent(seconds: float, step: Step) -> str:
    share = seconds / step.step_s if step.step_s else None
    return "0 %" if share == 0 else format_share(share, digits=2)


def _of(bar: Bar, step: Step) -> str:
    return _percent(bar.seconds, step)


def account_table(step: Step, own: Sequence[Step]) -> Table:
    """Every bar: milliseconds, share of the step, what its kernels took in all, how many."""
    table = plain_table()
    which = step.name + (f", the typical one of {len(own)}" if len(own) > 1 else "")
    table.add_column(which, overflow="fold", min_width=34)
    for name in ("ms", "of step", "kernels' sum", "kernels", "in graphs"):
        table.add_column(name, justify="right", no_wrap=True)
    for bar in step.account:
        is_work = bar.device_sum_s > 0
        table.add_row(
            bar_label(bar.name),
            _ms(bar.seconds),
            _of(bar, step),
            _ms(bar.device_sum_s) if is_work else "",
            f"{bar.kernels:g}" if is_work else "",
            _ms(bar.graph_s) if bar.graph_s else "",
        )
    table.add_section()
    total_s = sum(bar.seconds for bar in step.account)
    sum_s = step.device_sum_s
    table.add_row("the step", _ms(total_s), "100 %", _ms(sum_s) if sum_s else "", "", "")
    return table


def _ms(seconds: float | None) -> str:
    if seconds is None:
        return UNKNOWN
    return f"{seconds * 1e3:.3f}" if seconds < 0.1 else f"{seconds * 1e3:.1f}"


def step_table(own: Sequence[Step]) -> Table:
    """Every step apart."""
    table = plain_table()
    table.add_column("step")
    names = ("ms", "busy", "idle", "unlinked", "communication", "exposed", "operators", "MFU")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for step in own[:SHOWN_STEPS]:
        table.add_row(
            step.name,
            _ms(step.step_s),
            _ms(step.device_busy_s),
            _ms(step.device_idle_s),
            _ms(step.unlinked_s),
            _ms(step.communication_s),
            _ms(step.communication_exposed_s),
            f"{step.operators}",
            format_share(step.mfu),
        )
    if len(own) > SHOWN_STEPS:
        table.add_row(f"and {len(own) - SHOWN_STEPS} more")
    return table


def gemm_table(gemms: Sequence[Gemm]) -> Table:
    """What each product reaches, the longest first."""
    table = plain_table()
    table.add_column("product (m×n×k)", overflow="ellipsis", no_wrap=True, max_width=46)
    table.add_column("format")
    for name in ("calls", "ms", "TFLOP/s", "of peak"):
        table.add_column(name, justify="right", no_wrap=True)
    for gemm in gemms[:SHOWN_GEMMS]:
        table.add_row(
            clean(f"{gemm.operator.removeprefix('aten::')} {gemm.sizes}"),
            gemm.dtype,
            format_si(gemm.calls, "", digits=3).strip(),
            _ms(gemm.seconds),
            f"{gemm.flops_per_s / 1e12:.3g}",
            format_share(gemm.of_peak) if gemm.of_peak is not None else UNKNOWN,
        )
    return table


def kernel_table(step: Step) -> Table:
    """The kernels that take longest."""
    table = plain_table()
    table.add_column("kernel", overflow="ellipsis", no_wrap=True, max_width=52)
    table.add_column("bar", overflow="ellipsis", no_wrap=True, max_width=24)
    for name in ("runs", "ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for kernel in step.kernels[:SHOWN_KERNELS]:
        table.add_row(
            clean(kernel.name), bar_label(kernel.bar), f"{kernel.kernels}", _ms(kernel.seconds)
        )
    return table
