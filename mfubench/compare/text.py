"""A comparison as text: what it says, two tables and a plot that fit 80 columns, and Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from mfubench.compare.document import (
    FASTER,
    NO_DIFFERENCE,
    REFERENCE,
    SLOWER,
    UNCLEAR,
    ComparedScript,
    Comparison,
)
from mfubench.show.console import as_text, plain_table
from mfubench.show.markdown import without_mentions as escaped
from mfubench.show.units import UNKNOWN, format_bytes, format_duration

WIDTH = 80
LABEL_WIDTH = 22
PLOT_WIDTH = 44
MARKS: Mapping[str, str] = {
    REFERENCE: "·",
    FASTER: "↑",
    SLOWER: "↓",
    NO_DIFFERENCE: "=",
    UNCLEAR: "?",
}


def comparison_text(found: Comparison, *, color: bool = False) -> str:
    """The verdicts first, then the numbers."""
    parts = [_filled(sentence) for sentence in verdict_sentences(found)]
    parts += [_speeds(found, color=color), forest(found), _others(found, color=color)]
    parts += [_filled(text) for text in (*loss_sentences(found), *found.notes, about(found))]
    return "\n\n".join(filter(None, parts))


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def verdict_sentences(found: Comparison) -> list[str]:
    """One per side that is compared."""
    return [_verdict(side, found.sides[0].label, found) for side in found.sides[1:]]


def _verdict(side: ComparedScript, reference: str, found: Comparison) -> str:
    words = {
        FASTER: f"{side.label} trains faster than {reference}",
        SLOWER: f"{side.label} trains slower than {reference}",
        NO_DIFFERENCE: f"{side.label} and {reference}: no difference (within "
        f"{found.precision * 100:g} %)",
    }
    text = words.get(side.verdict, f"{side.label} against {reference}: unclear")
    if side.ratio is not None:
        text += f": {speed(side.ratio)} the speed"
        if side.low is not None and side.high is not None:
            text += f" ({side.low:.3f} to {side.high:.3f})"
    if side.break_even_steps is not None and side.verdict == FASTER:
        text += f"; its longer start is won back after {side.break_even_steps:,.0f} steps"
    return f"{text}. {_capital(side.reason)}." if side.reason else f"{text}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".")


def loss_sentences(found: Comparison) -> list[str]:
    """Whether the sides learn the same."""
    said = [f"{side.label}: {side.loss_words}" for side in found.sides]
    return ["Losses. " + "; ".join(said) + "."]


def about(found: Comparison) -> str:
    """How this was measured."""
    ends = {
        "decided": "every side has its verdict",
        "out of pairs": "no more pairs were planned",
        "out of budget": f"the budget of {format_duration(found.budget_s)} is spent",
        "interrupted": "it was interrupted",
        "failed": "a side failed",
    }
    steady = (
        "On all sides the allocator keeps its memory and idle threads sleep (--as-is: not)."
        if found.is_steadied
        else "The environment is as it is."
    )
    pairs = "1 pair" if found.pairs == 1 else f"{found.pairs} pairs"
    return (
        f"{pairs} of fresh processes in {format_duration(found.spent_s)}; {ends[found.ended]}. The "
        f"{found.confidence * 100:g} % intervals hold for all sides and looks together. {steady}"
    )


def speed(ratio: float | None) -> str:
    """A ratio of speeds.

    >>> speed(1.4237), speed(None)
    ('×1.424', '–')
    """
    return UNKNOWN if ratio is None else f"×{ratio:.3f}"


def interval(side: ComparedScript) -> str:
    """The bounds of a side's ratio."""
    if side.verdict == REFERENCE or side.ratio is None:
        return ""
    low = "…" if side.low is None else f"{side.low:.3f}"
    high = "…" if side.high is None else f"{side.high:.3f}"
    return f"{low}–{high}"


def _speeds(found: Comparison, *, color: bool) -> str:
    table = plain_table()
    table.add_column("side", max_width=LABEL_WIDTH, overflow="fold")
    table.add_column("speed", justify="right", no_wrap=True)
    table.add_column(f"{found.confidence * 100:g} % interval", justify="right", no_wrap=True)
    table.add_column("ms/step", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for side in found.sides:
        cells = (speed(side.ratio), interval(side), _milliseconds(side.step_s), side.verdict)
        table.add_row(side.label, *cells)
    return as_text(table, color=color, width=WIDTH).rstrip()


def _others(found: Comparison, *, color: bool) -> str:
    table = plain_table()
    table.add_column("side", max_width=LABEL_WIDTH, overflow="fold")
    for name in ("tokens/s", "start-up", "compiling", "memory"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("losses", overflow="fold")
    for side in found.sides:
        table.add_row(side.label, *_cells(side), _loss_word(side))
    return as_text(table, color=color, width=WIDTH).rstrip()


def _cells(side: ComparedScript) -> tuple[str, str, str, str]:
    tokens = side.tokens_per_s
    return (
        UNKNOWN if tokens is None else f"{tokens:,.0f}",
        format_duration(side.start_up_s),
        format_duration(side.compile_s) if side.compile_s else UNKNOWN,
        format_bytes(side.peak_memory_bytes),
    )


def _loss_word(side: ComparedScript) -> str:
    if side.verdict == REFERENCE and side.loss_verdict == "same":
        return "repeat"
    return side.loss_verdict


def _milliseconds(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else f"{seconds * 1e3:.2f}"


def forest(found: Comparison) -> str:
    """A line per side: its interval and its estimate, with the reference as a column of colons.

    Plain ASCII, so that it looks alike everywhere.
    """
    sides = [side for side in found.sides[1:] if side.ratio is not None]
    if not sides:
        return ""
    edges = [1 - found.precision, 1 + found.precision]
    for side in sides:
        edges += [e for e in (side.low, side.ratio, side.high) if e is not None]
    low, high = min(edges), max(edges)
    room = 0.05 * (high - low)
    low, high = low - room, high + room

    def at(ratio: float | None, otherwise: int) -> int:
        if ratio is None:
            return otherwise
        return round((min(max(ratio, low), high) - low) / (high - low) * (PLOT_WIDTH - 1))

    lines = []
    for side in sides:
        line = [" "] * PLOT_WIDTH
        left, right = at(side.low, 0), at(side.high, PLOT_WIDTH - 1)
        line[left : right + 1] = "-" * (right - left + 1)
        line[at(1.0, 0)] = ":"
        line[left] = "<" if side.low is None else "|"
        line[right] = ">" if side.high is None else "|"
        line[at(side.ratio, 0)] = "o"
        lines.append(f"{_cut(side.label):{LABEL_WIDTH}}  {''.join(line).rstrip()}")
    scale = f"{low - 1:+.1%}".ljust(PLOT_WIDTH - 8) + f"{high - 1:+.1%}".rjust(8)
    head = " " * at(1.0, 0) + "same"
    pad = " " * (LABEL_WIDTH + 2)
    return "\n".join([pad + head, *lines, pad + scale])


def _cut(label: str) -> str:
    return label if len(label) <= LABEL_WIDTH else label[: LABEL_WIDTH - 2] + ".."


def comparison_markdown(found: Comparison) -> str:
    """For a pull request comment or an issue."""
    head = (
        f"| side | speed | {found.confidence * 100:g} % interval | ms/step | tokens/s | start-up "
        "| compiling | memory | losses | verdict |"
    )
    lines = [
        "### mfubench compare",
        "",
        *(f"- {escaped(sentence)}" for sentence in verdict_sentences(found)),
        "",
        head,
        "|---|---:|---:|---:|---:|---:|---:|---:|---|---|",
    ]
    for side in found.sides:
        cells = (
            side.label,
            speed(side.ratio),
            interval(side),
            _milliseconds(side.step_s),
            *_cells(side),
            _loss_word(side),
            f"{MARKS[side.verdict]} {side.verdict}",
        )
        lines.append("| " + " | ".join(map(escaped, cells)) + " |")
    notes = (*loss_sentences(found), *found.notes, about(found))
    return "\n".join([*lines, "", *(f"- {escaped(note)}" for note in notes)]) + "\n"
