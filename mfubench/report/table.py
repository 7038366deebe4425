"""The table at the end of a run: at most 100 columns, every case in it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mfubench.claims.show.text import claims_table
from mfubench.knobs.text import compile_charges, knob_table, time_sources
from mfubench.report.answer import answers, compile_times
from mfubench.report.case_line import ceiling_rate, harness_ratio, planted_line
from mfubench.results.outcomes import Outcome, known
from mfubench.results.record import CaseRecord
from mfubench.show.account import breakdown_sentences, breakdown_table, breakdown_title
from mfubench.show.console import WIDTH, as_text, plain_table, wrapped
from mfubench.show.units import UNKNOWN, format_bytes, format_share, format_si

QUESTIONS = {"train-step": "train step", "train-loop": "train loop"}


def render(
    records: Sequence[CaseRecord],
    *,
    color: bool = False,
    notes: Sequence[str] = (),
    width: int = WIDTH,
) -> str:
    """The tables, the sentences and the notes as text, `width` columns wide at most."""
    lines = as_text(*_parts(records), color=color, width=width).splitlines()
    for note in notes:  # a path must stay whole, to be copied from the screen
        lines += wrapped(note).splitlines()
    return "\n".join(lines).rstrip() + "\n"


def _parts(records: Sequence[CaseRecord]) -> list[RenderableType]:
    parts: list[RenderableType] = []
    ok = [i for i in records if i.outcome == Outcome.OK]
    ceilings = [i for i in ok if i.question == "ceiling"]
    training = [i for i in ok if i.question in QUESTIONS]
    if ceilings:
        parts.append(_ceiling_table(ceilings))
    if training:
        parts.append(_training_table(training))
    parts += [Text(f"harness: {harness_ratio(i)}\n") for i in ok if i.question == "harness"]
    parts += [Text(f"{i.planted.name}: {planted_line(i)}\n") for i in ok if i.planted]
    for record in ok:
        if record.breakdown is not None:
            parts.append(breakdown_table(record.breakdown, breakdown_title(record)))
            parts.append(Text(breakdown_sentences(record) + "\n"))
        elif record.breakdown_problem is not None:
            parts.append(Text(f"{record.case_id}: {record.breakdown_problem}\n"))
    if knobs := [i for i in ok if i.question == "knob"]:
        parts.append(knob_table(knobs))
        if sources := time_sources(knobs):
            parts.append(Text("\n".join(["Of an iteration of the same tokens:", *sources, ""])))
        parts.extend(Text(sentence + "\n") for sentence in compile_charges(knobs))
    if claims := [i for i in records if i.claim is not None]:
        parts.append(claims_table(claims))
    others = [i for i in records if i.outcome != Outcome.OK and i.claim is None]
    if others:
        parts.append(_outcome_table(others))
    if compiled := compile_times(ok):
        parts.append(Text(compiled + "\n"))
    parts.extend(Text(paragraph + "\n") for paragraph in answers(records))
    return parts


def _ceiling_table(ceilings: Sequence[CaseRecord]) -> Table:
    table = plain_table()
    table.add_column("measured ceiling", overflow="fold")
    table.add_column("best sustained", justify="right")
    table.add_column("noise", justify="right")
    table.add_column("how")
    for record in ceilings:
        shape = record.shape_mnk
        how = "m×n×k " + "×".join(map(str, shape)) if shape else ""
        if record.peak_flops_per_s:
            peak = format_si(record.peak_flops_per_s, "FLOP/s")
            how += f", peak {peak}"
        if (kept := record.ceiling_kept_rate_per_s) and kept > known(record.ceiling_rate_per_s):
            how += f", best lately {format_si(kept, f'{record.ceiling_unit}/s')}"
        noise = format_share(record.ceiling_noise_ratio, digits=2)
        label = record.case_id.removeprefix("ceiling/")
        table.add_row(label, ceiling_rate(record), noise, how)
    return table


def _training_table(training: Sequence[CaseRecord]) -> Table:
    table = plain_table()
    table.add_column("case", overflow="fold", min_width=24)
    for name in ("ms/step", "spread", "tokens/s", "GFLOP/s", "of ceiling", "MFU", "memory"):
        table.add_column(name, justify="right", no_wrap=True)
    section = ""
    for record in sorted(training, key=lambda i: (i.question != "train-step", str(i.preset))):
        title = f"{QUESTIONS[record.question]}, {record.preset}"
        if title != section:
            table.add_row(Text(title, style="bold"))
            section = title
        table.add_row(
            "  " + record.case_id.rsplit("/", 1)[-1],
            f"{known(record.step_s) * 1e3:.2f}",
            format_share(record.step_spread_ratio, digits=2),
            f"{record.tokens_per_s:,.0f}",
            f"{known(record.achieved_flops_per_s) / 1e9:,.1f}",
            format_share(record.ceiling_utilisation),
            format_share(record.mfu),
            format_bytes(record.peak_memory_bytes),
        )
    return table


def _outcome_table(others: Sequence[CaseRecord]) -> Table:
    table = plain_table()
    table.add_column("not measured", no_wrap=True, max_width=52, overflow="ellipsis")
    table.add_column("outcome")
    table.add_column("reason", overflow="fold")
    for record in others:
        table.add_row(record.case_id, record.outcome, record.outcome_reason or UNKNOWN)
    return table
