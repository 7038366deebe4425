"""Knobs as a table: what each did here, and what to type for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from mfubench.analysis.bar_changes import worth_naming
from mfubench.show.console import plain_table
from mfubench.show.units import format_duration

Info = Mapping[str, Any]


def knob_table(infos: Sequence[Info]) -> Table:
    """Measured knobs, largest gain first: the ratio of tokens per second, and a verdict."""
    table = plain_table()
    table.add_column("knob", no_wrap=True)
    table.add_column("speed", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("what to type or change", overflow="fold")
    for info in sorted(infos, key=lambda i: -i["knob"]["ratio"]):
        knob = info["knob"]
        table.add_row(
            knob["name"],
            f"×{knob['ratio']:.3f}",
            f"{knob['low']:.3f}–{knob['high']:.3f}",
            verdict(knob),
            knob["nanogpt"],
        )
    return table


def verdict(knob: Info) -> str:
    """The verdict in words. A compiled knob helps a run only that is long enough.

    >>> verdict({"verdict": "no difference", "beyond": 0.0123})
    'no difference beyond 1.2 %'
    >>> verdict({"verdict": "helps", "break_even_iters": 14812.3, "horizon_iters": 2000})
    'helps beyond 14,812 iters'
    """
    if knob["verdict"] == "no difference":
        return f"no difference beyond {knob['beyond'] * 100:.1f} %"
    even = knob.get("break_even_iters")
    if knob["verdict"] == "helps" and even is not None and even > knob["horizon_iters"]:
        return f"helps beyond {even:,.0f} iters"
    return str(knob["verdict"])


def taken_from(bars: Sequence[Info] | None) -> str:
    """The bars that a knob took its time from, of what each held, and those it gave some to; empty
    where none was measured.

    >>> taken_from([{"name": "optimizer", "before_s": 0.0019, "after_s": 0.0007}])
    '1.2 of 1.9 ms from optimizer'
    >>> gemm = {"name": "gemm", "before_s": 0.028, "after_s": 0.014}
    >>> taken_from([gemm, {"name": "copies", "before_s": 0.001, "after_s": 0.009}])
    '14 of 28 ms from gemm, giving 8 ms to copies'
    """
    changes = worth_naming(bars or ())
    taken = [
        f"{c.saved_s * 1e3:.3g} of {c.before_s * 1e3:.3g} ms from {c.name}"
        for c in changes
        if c.saved_s > 0
    ]
    given = [f"{-c.saved_s * 1e3:.3g} ms to {c.name}" for c in changes if c.saved_s < 0]
    if given:
        taken.append("giving " + " and ".join(given))
    return ", ".join(taken)


def knob_line(info: Info) -> str:
    """One knob's effect, short."""
    knob = info["knob"]
    return f"×{knob['ratio']:.3f} tokens/s ({knob['low']:.3f}–{knob['high']:.3f}): {verdict(knob)}"


def time_sources(infos: Sequence[Info]) -> list[str]:
    """Where the knobs that help took their time from, a line per knob, in the table's order."""
    knobs = sorted((info["knob"] for info in infos), key=lambda knob: -knob["ratio"])
    told = [(knob["name"], taken_from(knob.get("bars"))) for knob in knobs]
    return [f"{name} took {text}" for name, text in told if text]


def compile_charges(infos: Sequence[Info]) -> list[str]:
    """What compilation costs and when it is won back, a sentence per compiled knob."""
    sentences = []
    for info in infos:
        knob = info["knob"]
        if knob.get("start_up_s") is None:
            continue
        if knob["break_even_iters"] is None:
            won = "which no number of iterations wins back here"
        else:
            won = f"won back after {knob['break_even_iters']:,.0f} iterations"
        sentences.append(
            f"{knob['name']}: {format_duration(knob['start_up_s'])} of start-up, {won}; over "
            f"{knob['horizon_iters']} iterations ×{knob['net_ratio']:.3f} tokens/s in all."
        )
    return sentences
