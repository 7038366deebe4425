"""The tables at the end of a run: as wide as the terminal, every case in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mfubench.claims.show.text import claims_table
from mfubench.knobs.text import compile_charges, knob_table, time_sources, what_to_type
from mfubench.ranks.show.text import ranks_tables
from mfubench.report.answer import answers, compile_times, next_step, verdicts
from mfubench.report.case_line import ceiling_rate, harness_ratio, planted_line
from mfubench.report.headline import doubt_of
from mfubench.results.outcomes import Outcome, known
from mfubench.results.record import CaseRecord
from mfubench.show.account import breakdown_parts, breakdown_sentences, breakdown_title
from mfubench.show.console import (
    DOUBTFUL,
    WIDTH,
    Column,
    as_text,
    fitted,
    left_out,
    plain_table,
    verdict_text,
    wrapped,
)
from mfubench.show.units import UNKNOWN, format_bytes, format_share, format_si

QUESTIONS = {"train-step": "train step", "train-loop": "train loop", "script": "training script"}
TRAINING_COLUMNS = (
    Column(name="case", rank=0, is_text=True, min_width=24),
    Column(name="ms/step", rank=0),
    Column(name="spread", rank=1),
    Column(name="tokens/s", rank=2),
    Column(name="GFLOP/s", rank=4),
    Column(name="of ceiling", rank=3),
    Column(name="MFU", rank=0),
    Column(name="memory", rank=5),
)


def render(
    records: Sequence[CaseRecord],
    *,
    color: bool = False,
    notes: Sequence[str] = (),
    width: int = WIDTH,
    beside: Sequence[RenderableType] = (),
) -> str:
    """The tables, the sentences and the notes as text, `width` columns wide at most; `beside` is
    shown between tables and sentences."""
    parts = [*_parts(records, width), *beside, *(Text(text + "\n") for text in sentences(records))]
    lines = as_text(*parts, color=color, width=width).splitlines()
    for note in notes:  # a path must stay whole, to be copied from the screen
        lines += wrapped(note, width=width).splitlines()
    return "\n".join(lines).rstrip() + "\n"


def sentences(records: Sequence[CaseRecord]) -> list[str]:
    """What a run says in words: the answer, whether it is good, and what to type next."""
    found = [*answers(records), *verdicts(records)]
    after = next_step(records)
    return [*found, after] if after else found


def as_data(records: Sequence[CaseRecord], result: str | None) -> dict[str, Any]:
    """The same for programs: the fields of docs/results.md for every case, and the sentences."""
    return {
        "result": result,
        "cases": [record.as_extra_info() for record in records],
        "answers": answers(records),
        "is_this_good": verdicts(records),
        "next": next_step(records),
    }


def _parts(records: Sequence[CaseRecord], width: int) -> list[RenderableType]:
    parts: list[RenderableType] = []
    ok = [i for i in records if i.outcome == Outcome.OK]
    ceilings = [i for i in ok if i.question == "ceiling"]
    training = [i for i in ok if i.question in QUESTIONS]
    if ceilings:
        parts.append(_ceiling_table(ceilings))
    if training:
        parts += _training_table(training, width)
    parts += [Text(f"harness: {harness_ratio(i)}\n") for i in ok if i.question == "harness"]
    parts += [Text(f"{i.planted.name}: {planted_line(i)}\n") for i in ok if i.planted]
    for record in ok:
        if record.breakdown is not None:
            parts += breakdown_parts(
                record.breakdown, breakdown_title(record), width, record.communication_hidden_s
            )
            parts.append(Text(breakdown_sentences(record) + "\n"))
        elif record.breakdown_problem is not None:
            parts.append(Text(f"{record.case_id}: {record.breakdown_problem}\n"))
    if on_ranks := [i for i in ok if i.question == "ranks"]:
        parts += ranks_tables(on_ranks, width)
    if knobs := [i for i in ok if i.question == "knob"]:
        parts.append(knob_table(knobs))
        if typed := what_to_type(knobs):
            parts.append(Text("\n".join(["What to type for those that help:", *typed, ""])))
        if sources := time_sources(knobs):
            parts.append(Text("\n".join(["Where the time went, per iteration:", *sources, ""])))
        parts.extend(Text(sentence + "\n") for sentence in compile_charges(knobs))
    if claims := [i for i in records if i.claim is not None]:
        parts.append(claims_table(claims))
    others = [i for i in records if i.outcome != Outcome.OK and i.claim is None]
    if others:
        parts.append(_outcome_table(others))
    if compiled := compile_times(ok):
        parts.append(Text(compiled + "\n"))
    return parts


def _ceiling_table(ceilings: Sequence[CaseRecord]) -> Table:
    table = plain_table()
    table.add_column("measured ceiling", overflow="fold")
    table.add_column("best sustained", justify="right")
    table.add_column("noise", justify="right")
    table.add_column("how")
    for record in ceilings:
        how = ["m×n×k " + "×".join(map(str, record.shape_mnk))] if record.shape_mnk else []
        if record.peak_flops_per_s:
            how.append(f"peak {format_si(record.peak_flops_per_s, 'FLOP/s')}")
        if (kept := record.ceiling_kept_rate_per_s) and kept > known(record.ceiling_rate_per_s):
            how.append(f"best lately {ceiling_rate(record, kept)}")
        noise = format_share(record.ceiling_noise_ratio, digits=2)
        label = record.case_id.removeprefix("ceiling/")
        table.add_row(label, ceiling_rate(record), noise, ", ".join(how))
    return table


def _training_table(training: Sequence[CaseRecord], width: int) -> list[RenderableType]:
    rows: list[list[str | Text]] = []
    section = ""
    for record in sorted(training, key=lambda i: (i.question != "train-step", str(i.preset))):
        title = f"{QUESTIONS[record.question]}, {record.preset}"
        if title != section:
            rows.append([Text(title, style="bold")])
            section = title
        spread = format_share(record.step_spread_ratio, digits=2)
        unsteady = Text(f"{spread} (!)", style=DOUBTFUL)
        rows.append(
            [
                "  " + record.case_id.rsplit("/", 1)[-1],
                f"{known(record.step_s) * 1e3:.2f}",
                unsteady if doubt_of(record) else spread,
                _thousands(record.tokens_per_s, 1.0, 0),
                _thousands(record.achieved_flops_per_s, 1e9, 1),
                format_share(record.ceiling_utilisation),
                Text(format_share(record.mfu), style="bold"),
                format_bytes(record.peak_memory_bytes),
            ]
        )
    table, without = fitted(TRAINING_COLUMNS, rows, width=width)
    note = left_out(without, width)
    return [table, Text(note + "\n")] if note else [table]


def _thousands(value: float | None, unit: float, digits: int) -> str:
    """A rate in its unit; a script may have no tokens, or no FLOPs that could be counted."""
    return UNKNOWN if value is None else f"{value / unit:,.{digits}f}"


def _outcome_table(others: Sequence[CaseRecord]) -> Table:
    table = plain_table()
    table.add_column("not measured", no_wrap=True, max_width=52, overflow="ellipsis")
    table.add_column("outcome")
    table.add_column("reason", overflow="fold")
    for record in others:
        reason = record.outcome_reason or UNKNOWN
        table.add_row(record.case_id, verdict_text(record.outcome), reason)
    return table
