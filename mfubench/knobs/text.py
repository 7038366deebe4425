"""Knobs as a table: what each did here, and what to type for it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from mfubench.analysis.bar_changes import worth_naming
from mfubench.results.answers import KnobResult
from mfubench.results.bars import BarChange
from mfubench.results.outcomes import known
from mfubench.results.record import CaseRecord
from mfubench.show.console import plain_table, verdict_text
from mfubench.show.units import format_duration

BAR_NAMES = {"gemm": "matrix products", "dispatch": "dispatch and Python"}


def knob_table(records: Sequence[CaseRecord]) -> Table:
    """Measured knobs, largest gain first: the ratio of tokens per second, and a verdict."""
    table = plain_table()
    table.add_column("knob", overflow="fold")
    table.add_column("speed-up", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for record in sorted(records, key=lambda i: -known(i.knob).effect[0]):
        knob = known(record.knob)
        ratio, low, high = knob.effect
        table.add_row(
            knob.name,
            f"×{ratio:.3f}",
            f"{low:.3f}–{high:.3f}",
            verdict_text(verdict(knob)),
        )
    return table


def what_to_type(records: Sequence[CaseRecord]) -> list[str]:
    """A line per knob that helps, the largest gain first."""
    knobs = sorted((known(record.knob) for record in records), key=lambda knob: -knob.effect[0])
    return [f"  {knob.name}: {knob.nanogpt}" for knob in knobs if knob.verdict == "helps"]


def verdict(knob: KnobResult) -> str:
    """The verdict in words. A compiled knob helps a run only that is long enough.

    >>> asked = dict(name="x", before="", after="", nanogpt="", pytorch="", changes_numerics=False)
    >>> verdict(KnobResult(**asked, verdict="no difference", beyond=0.0123))
    'no difference beyond 1.2 %'
    >>> verdict(KnobResult(**asked, verdict="helps", break_even_iters=14812.3, horizon_iters=2000))
    'helps beyond 14,812 iters'
    """
    if knob.verdict == "no difference":
        return f"no difference beyond {known(knob.beyond) * 100:.1f} %"
    even = knob.break_even_iters
    if knob.verdict == "helps" and even is not None and even > known(knob.horizon_iters):
        return f"helps beyond {even:,.0f} iters"
    return str(knob.verdict)


def taken_from(bars: Sequence[BarChange] | None) -> str:
    """The bars that a knob changed, before → after; empty where none was measured.

    >>> taken_from([BarChange("optimizer", 0.0019, 0.0007)])
    'optimizer: 1.9 → 0.7 ms'
    >>> taken_from([BarChange("gemm", 0.028, 0.014), BarChange("copies", 0.001, 0.009)])
    'matrix products: 28 → 14 ms, copies: 1 → 9 ms'
    """
    return ", ".join(
        f"{BAR_NAMES.get(c.name, c.name)}: {c.before_s * 1e3:.3g} → "
        f"{(c.before_s - c.saved_s) * 1e3:.3g} ms"
        for c in worth_naming(bars or ())
    )


def knob_line(record: CaseRecord) -> str:
    """One knob's effect, short."""
    knob = known(record.knob)
    ratio, low, high = knob.effect
    return f"×{ratio:.3f} tokens/s ({low:.3f}–{high:.3f}): {verdict(knob)}"


def time_sources(records: Sequence[CaseRecord]) -> list[str]:
    """Where the knobs that help took their time from, a line per knob, in the table's order."""
    knobs = sorted((known(record.knob) for record in records), key=lambda knob: -knob.effect[0])
    told = [(knob.name, taken_from(knob.bars)) for knob in knobs]
    return [f"  {name}: {text}" for name, text in told if text]


def compile_charges(records: Sequence[CaseRecord]) -> list[str]:
    """What compilation costs and when it is won back, a sentence per compiled knob."""
    sentences = []
    for record in records:
        knob = known(record.knob)
        if knob.start_up_s is None:
            continue
        if knob.break_even_iters is None:
            won = "never won back here"
        elif knob.verdict == "helps":
            won = f"won back after {knob.break_even_iters:,.0f} iterations"
        else:
            won = "and whether it is ever won back is unclear"
        net = known(knob.net_ratio)
        sentences.append(
            f"{knob.name}: {abs(net - 1) * 100:.0f} % {'faster' if net >= 1 else 'slower'} over "
            f"{known(knob.horizon_iters):,} iterations, start-up included "
            f"({format_duration(knob.start_up_s)}, {won})."
        )
    return sentences
