"""Knobs as a table: what each did here, and what to type for it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from mfubench.analysis.bar_changes import worth_naming
from mfubench.results.answers import KnobResult
from mfubench.results.bars import BarChange
from mfubench.results.outcomes import known
from mfubench.results.record import CaseRecord
from mfubench.show.account import PLAIN_NAMES
from mfubench.show.console import plain_table, verdict_text
from mfubench.show.units import format_duration


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
    """The bars that a knob took its time from, before and after, and those that grew; empty where
    none was measured.

    >>> taken_from([BarChange("optimizer", 0.0019, 0.0007)])
    'optimizer: 1.90 → 0.700 ms'
    >>> taken_from([BarChange("gemm", 0.0216, 0.011), BarChange("copies", 0.001, 0.009)])
    'matrix products: 21.6 → 11.0 ms, dtype casts and copies: 1.00 → 9.00 ms (slower)'
    """
    return ", ".join(
        f"{PLAIN_NAMES.get(c.name, c.name)}: {c.before_s * 1e3:#.3g} → {c.after_s * 1e3:#.3g} ms"
        + ("" if c.saved_s > 0 else " (slower)")
        for c in worth_naming(bars or ())
    )


def speed(ratio: float) -> str:
    """A ratio of speeds in plain words.

    >>> speed(1.1634), speed(0.797), speed(1.0004)
    ('16 % faster', '20 % slower', 'as fast')
    """
    change = abs(ratio - 1) * 100
    digits = 0 if change >= 9.95 else 1
    if round(change, digits) == 0:
        return "as fast"
    return f"{change:.{digits}f} % {'faster' if ratio > 1 else 'slower'}"


def knob_line(record: CaseRecord) -> str:
    """One knob's effect, short."""
    knob = known(record.knob)
    ratio, low, high = knob.effect
    return f"×{ratio:.3f} tokens/s ({low:.3f}–{high:.3f}): {verdict(knob)}"


def time_sources(records: Sequence[CaseRecord]) -> list[str]:
    """Where the knobs that help took their time from, a line per knob, in the table's order."""
    knobs = sorted((known(record.knob) for record in records), key=lambda knob: -knob.effect[0])
    told = [(knob.name, taken_from(knob.bars)) for knob in knobs]
    return [f"{name} changes {text}" for name, text in told if text]


def compile_charges(records: Sequence[CaseRecord]) -> list[str]:
    """What compilation costs and when it pays, a sentence per compiled knob."""
    sentences = []
    for record in records:
        knob = known(record.knob)
        if knob.start_up_s is None:
            continue
        text = f"{knob.name}: compiling takes {format_duration(knob.start_up_s)}"
        if knob.net_ratio is not None and knob.horizon_iters:
            text += (
                f"; {speed(knob.net_ratio)} over {knob.horizon_iters:,} iterations, compilation "
                "included"
            )
        if knob.verdict == "helps" and knob.break_even_iters is not None:
            text += f". It pays from {knob.break_even_iters:,.0f} iterations on"
        elif knob.verdict == "helps":
            text += ". No number of iterations pays for it here"
        elif knob.verdict == "unclear":
            text += ". Too noisy to say when it pays"
        sentences.append(text + ".")
    return sentences
