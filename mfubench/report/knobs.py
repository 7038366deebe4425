"""Knobs as a table: what each did here, and what to type for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from mfubench.analysis.bar_changes import worth_naming
from mfubench.report.console import plain_table
from mfubench.report.units import format_duration

Info = Mapping[str, Any]


def knob_table(infos: Sequence[Info]) -> Table:
    """Measured knobs, largest gain first: the ratio of tokens per second, and a verdict."""
    table = plain_table()
    table.add_column("knob", no_wrap=True)
    table.add_column("speed", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("time taken from", overflow="fold")
    table.add_column("what to type or change", overflow="fold")
    for info in sorted(infos, key=lambda i: -i["knob"]["ratio"]):
        knob = info["knob"]
        table.add_row(
            knob["name"],
            f"×{knob['ratio']:.3f}",
            f"{knob['low']:.3f}–{knob['high']:.3f}",
            verdict(knob),
            taken_from(knob.get("bars")),
            knob["nanogpt"],
        )
    return table


def verdict(knob: Info) -> str:
    """The verdict in words. A compiled knob helps a run only that is long enough.

    >>> verdict({"verdict": "no difference", "beyond": 0.0123})
    'no difference beyond 1.2 %'
    >>> verdict({"verdict": "helps", "break_even_iters": 14812.3, "horizon_iters": 2000})
    'helps beyond 14,812 iterations'
    """
    if knob["verdict"] == "no difference":
        return f"no difference beyond {knob['beyond'] * 100:.1f} %"
    even = knob.get("break_even_iters")
    if knob["verdict"] == "helps" and even is not None and even > knob["horizon_iters"]:
        return f"helps beyond {even:,.0f} iterations"
    return str(knob["verdict"])


def taken_from(bars: Sequence[Info] | None) -> str:
    """The bars that a knob took its time from, of what each held; empty where none was measured.

    >>> taken_from([{"name": "optimizer", "before_s": 0.0019, "after_s": 0.0007}])
    '1.2 of 1.9 ms from optimizer'
    """
    words = []
    for name, saved_s, held_s in worth_naming(bars or ()):
        if saved_s > 0:
            saved, held = f"{saved_s * 1e3:.3g}", f"{held_s * 1e3:.3g}"
            words.append(f"{saved} of {held} ms from {name}")
    return ", ".join(words)


def knob_line(info: Info) -> str:
    """One knob's effect, short."""
    knob = info["knob"]
    return f"×{knob['ratio']:.3f} tokens/s ({knob['low']:.3f}–{knob['high']:.3f}): {verdict(knob)}"


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
