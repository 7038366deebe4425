"""A breakdown in words: the bars, what binds, and what there is to win."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table

from mfubench.results.bars import Bar, Operator
from mfubench.results.outcomes import Outcome, known
from mfubench.results.record import CaseRecord
from mfubench.show.console import Column, as_text, fitted, left_out, plain_table
from mfubench.show.terminal import width_of
from mfubench.show.units import UNKNOWN, format_duration, format_share, format_si

LABELS = {
    "peak": "time at spec peak",
    "ceiling": "peak → measured ceiling",
    "gemm shapes": "ceiling → these GEMM shapes, alone",
    "gemm in place": "GEMMs in place vs. alone",
    "attention": "attention, above the ceiling",
    "dispatch": "dispatch, launch gaps and Python",
    "copies": "dtype casts and copies",
    "clip": "gradient clip",
    "unexplained": "unexplained",
}
"""Bars whose name alone would not say it."""

PLAIN_NAMES = {
    "gemm": "matrix products",
    "gemm in place": "matrix products",
    "dispatch": "launching operators",
    "copies": "dtype casts and copies",
    "clip": "gradient clip",
}
"""The same where a bar is named in a sentence."""

CLOSES, CLOSES_COMPILED = 0.05, 0.10
"""An account that leaves more of the step unexplained says so."""

TOP = 3
WORTH_NAMING = 0.01
"""Of the step: less than this to win is not worth a sentence."""


def breakdown_parts(
    bars: Sequence[Bar], title: str, width: int, hidden_s: float | None = None
) -> list[RenderableType]:
    """Every bar in the account's order: milliseconds, points of MFU, floor, to win, check; and
    which of these a narrow terminal has no room for."""
    rows = [
        [
            bar_label(bar),
            _ms(bar.seconds),
            f"{bar.points * 100:.1f}",
            _ms(bar.floor_s),
            _ms(bar.to_win_s),
            _check(bar),
        ]
        for bar in bars
    ]
    total_s = sum(bar.seconds for bar in bars)
    rows.append(["the step", _ms(total_s), "100.0", "", "", ""])
    if hidden_s is not None:
        rows.append(["beside it: communication, hidden", _ms(hidden_s), "", "", "", ""])
    columns = (
        Column(name=title, rank=0, is_text=True, min_width=34),
        Column(name="ms", rank=0),
        Column(name="points", rank=1),
        Column(name="could be", rank=2),
        Column(name="to win", rank=0),
        Column(name="saved without", rank=3),
    )
    table, without = fitted(columns, rows, width=width)
    note = left_out(without, width)
    return [table, note] if note else [table]


def bar_label(bar: Bar) -> str:
    if bar.name == "peak" and "measured ceiling" in bar.source:
        return "time at the measured ceiling (peak unknown)"
    return LABELS.get(bar.name, str(bar.name))


def _ms(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else f"{seconds * 1e3:.2f}"


def _check(bar: Bar) -> str:
    """The ablation beside the whole component, and whether the two agree."""
    if bar.ablation_s is None:
        return ""
    verdict = "" if bar.reliable else " (!)"
    return f"{_ms(bar.ablation_s)} of {_ms(bar.whole_s)}{verdict}"


def breakdown_sentences(record: CaseRecord) -> str:
    """What binds, the bars with most to win, and how far the account closes."""
    bars = known(record.breakdown)
    step_s = known(record.breakdown_step_s)
    groups = known(record.breakdown_groups)
    binds = record.breakdown_binds
    shares = ", ".join(
        f"{name.removesuffix('-bound')} {seconds / step_s:.0%}"
        for name, seconds in sorted(groups.items(), key=lambda item: -item[1])
        if seconds / step_s >= WORTH_NAMING
    ).replace("%", " %")
    parts = [f"This case is {binds}: of its {format_duration(step_s)}, {shares}."]
    if to_win := worth_winning(bars, step_s):
        said = "; ".join(could_save(bar, step_s) for bar in to_win[:TOP])
        parts.append(said[0].upper() + said[1:] + ".")
    doubtful = [bar.name for bar in bars if bar.reliable is False]
    if doubtful:
        parts.append(
            f"Not to be relied on (!): {', '.join(doubtful)}; taking it out saved another time "
            "than the bar says."
        )
    closes = format_share(record.breakdown_unexplained, digits=2)
    if closes == UNKNOWN:
        closes = "0 %"
    parts.append(f"Unexplained: {closes} of the step.")
    allowed = CLOSES_COMPILED if record.compile else CLOSES
    if abs(known(record.breakdown_unexplained)) > allowed:
        parts.append(
            f"That is more than {allowed * 100:.0f} %: profiled steps did not run as plain ones "
            "do, so read the bars as shares at best, and run the case again."
        )
    if not record.profile_by_module and not record.compile:
        parts.append("Operators were told apart by their names alone.")
    if note := record.breakdown_note:
        parts.append(note[0].upper() + note[1:] + ".")
    return " ".join(parts)


def worth_winning(bars: Sequence[Bar], step_s: float) -> list[Bar]:
    """The bars that could save a per cent of the step or more, the largest saving first."""
    return sorted(
        (bar for bar in bars if (bar.to_win_s or 0.0) >= WORTH_NAMING * step_s),
        key=lambda bar: -(bar.to_win_s or 0.0),
    )


def could_save(bar: Bar, step_s: float) -> str:
    """What a bar could save at most, in milliseconds and of the step, and what it reaches.

    >>> could_save(Bar(name="activation", seconds=0.004, floor_s=0.001, to_win_s=0.003,
    ...                bytes=40_000_000), 0.04)
    'activation could save up to 3.00 ms (8 %; it reaches 25 % of the memory bandwidth)'
    >>> could_save(Bar(name="attention", seconds=0.009, floor_s=0.0), 0.06)
    'attention could save up to 9.00 ms (15 %)'
    """
    won_s = bar.to_win_s or 0.0
    share = f"{won_s / step_s:.0%}".replace("%", " %")
    if bar.bytes and bar.floor_s and bar.name != "attention":
        reached = f"{bar.floor_s / bar.seconds:.0%}".replace("%", " %")
        share += f"; it reaches {reached} of the memory bandwidth"
    name = PLAIN_NAMES.get(bar.name, bar.name)
    return f"{name} could save up to {format_duration(won_s)} ({share})"


def breakdown_text(record: CaseRecord, *, operators: bool = False, color: bool = False) -> str:
    """The account of one case as text, with its operators if asked for."""
    if record.outcome != Outcome.OK or record.breakdown is None:
        ended = record.outcome if record.outcome != Outcome.OK else "no account"
        reason = record.breakdown_problem or record.outcome_reason
        return as_text(f"{record.case_id}: {ended}: {reason}", color=color)
    parts: list[RenderableType] = [
        *breakdown_parts(
            record.breakdown,
            breakdown_title(record),
            width_of(sys.stdout),
            record.communication_hidden_s,
        ),
        breakdown_sentences(record),
    ]
    if operators:
        parts += ["", operator_table(record.breakdown_operators or ())]
    return as_text(*parts, color=color)


def breakdown_title(record: CaseRecord) -> str:
    """The case without its question, and whether it is an iteration of the loop."""
    title = str(record.case_id).partition("/")[2]
    return title + (", loop" if record.question == "breakdown-loop" else "")


def operator_table(operators: Sequence[Operator]) -> Table:
    """The operators behind the bars, largest first."""
    table = plain_table()
    table.add_column("operator", overflow="ellipsis", no_wrap=True, max_width=52)
    table.add_column("bar", no_wrap=True, max_width=18, overflow="ellipsis")
    table.add_column("phase")
    for name in ("calls", "ms"):
        table.add_column(name, justify="right")
    for op in operators:
        table.add_row(
            op.name,
            op.component,
            op.phase,
            format_si(op.calls, "", digits=3).strip(),
            _ms(op.seconds),
        )
    return table
