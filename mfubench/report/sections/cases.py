"""Every case with its numbers, and the timings of other suites."""

from __future__ import annotations

from mfubench.report.case_line import case_line
from mfubench.results.collection import Case, Collection
from mfubench.results.outcomes import STEPS, Outcome, known
from mfubench.show.blocks import Block, Cell, Fold, Prose, Section, Table
from mfubench.show.case_name import plain_case
from mfubench.show.units import (
    UNKNOWN,
    format_bytes,
    format_duration,
    format_share,
)

MOST_OPEN = 4
"""A longer table is folded."""


def cases_section(collection: Collection) -> Section | None:
    """The terminal's table, with every case that has rates; the others as lines."""
    blocks: list[Block] = []
    training = collection.ok(*STEPS)
    if training:
        table = Table(
            name="Training cases",
            columns=(
                "case",
                "#ms/step",
                "#tokens/s",
                "#GFLOP/s",
                "#of limit",
                "#MFU",
                "#nanoGPT shows",
                "#memory",
            ),
            rows=[_row(collection, case) for case in training],
            can_filter=True,
            is_cards=True,
        )
        is_short = len(training) <= MOST_OPEN
        folded = Fold(summary=f"{len(training)} training cases", blocks=[table])
        blocks.append(table if is_short else folded)
    others = [c for c in collection.cases if c not in training and not _is_elsewhere(c)]
    if others:
        table = Table(
            name="Other cases",
            columns=("case", "outcome", "what came out"),
            rows=[_other(collection, case) for case in others],
            can_filter=True,
            is_cards=True,
        )
        failed = sum(case.record.outcome is not Outcome.OK for case in others)
        summary = f"{len(others)} other cases: limits, breakdowns and the like"
        if failed:
            summary += f"; {failed} without a result"
        blocks.append(Fold(summary=summary, blocks=[table]))
    return Section(key="cases", title="Cases", blocks=blocks) if blocks else None


def _is_elsewhere(case: Case) -> bool:
    return case.record.outcome == Outcome.OK and case.record.question in ("knob", "claim")


def _row(collection: Collection, case: Case) -> list[Cell]:
    record = case.record
    memory = record.peak_memory_bytes
    return [
        Cell(text=plain_case(record), note=_when(case, collection)),
        Cell(
            text=f"{known(record.step_s) * 1e3:.2f}",
            value=record.step_s,
            note=f"spread {format_share(record.step_spread_ratio, digits=2)}",
        ),
        _rate(record.tokens_per_s, 1.0, 0),
        _rate(record.achieved_flops_per_s, 1e9, 1),
        _share(record.ceiling_utilisation),
        _share(record.mfu),
        _share(record.mfu_a100),
        Cell(text=format_bytes(memory), value=memory),
    ]


def _rate(value: float | None, unit: float, digits: int) -> Cell:
    """A script may have no tokens, or no FLOPs that could be counted."""
    return Cell(text=UNKNOWN if value is None else f"{value / unit:,.{digits}f}", value=value)


def _share(value: float | None, *, digits: int = 3) -> Cell:
    return Cell(text=format_share(value, digits=digits), value=value)


def _when(case: Case, collection: Collection) -> str:
    """The day, and whether what was measured is what is committed."""
    commit = case.run.commit[:8] + (" with changes" if case.run.dirty else "")
    rounds = case.record.rounds
    told = [collection.label(case.run.machine)] if len(collection.machines) > 1 else []
    told += [case.record.device] if case.record.device != "cpu" else []
    told += [case.run.datetime[:16].replace("T", " "), commit]
    told += [f"{rounds} rounds"] if rounds else []
    return " · ".join(part for part in told if part)


def _other(collection: Collection, case: Case) -> list[Cell]:
    record = case.record
    told = case_line(record).removeprefix(record.case_id).strip()
    return [
        Cell(text=record.case_id, note=_when(case, collection)),
        Cell(text=record.outcome),
        Cell(text=told.removeprefix(f"{record.outcome}: ")),
    ]


def foreign_section(collection: Collection) -> Section | None:
    """Plain timings: pytest-benchmark's own files carry no FLOPs, so no share of anything."""
    if not collection.foreign:
        return None
    rows = [
        [
            Cell(text=timing.name, note=timing.path.name),
            Cell(text=format_duration(timing.median_s), value=timing.median_s),
            Cell(text=format_duration(timing.min_s), value=timing.min_s),
            Cell(text=format_duration(timing.stddev_s), value=timing.stddev_s),
            Cell(
                text=UNKNOWN if timing.rounds is None else str(timing.rounds), value=timing.rounds
            ),
        ]
        for timing in collection.foreign
    ]
    text = (
        "Timings of other pytest-benchmark suites. They carry no FLOPs, so there is no MFU to show."
    )
    if collection.foreign_left_out:
        text += f" The newest {len(rows)}; {collection.foreign_left_out} more are left out."
    columns = ("benchmark", "#median", "#fastest", "#standard deviation", "#rounds")
    table = Table(name="Plain timings", columns=columns, rows=rows, can_filter=True)
    return Section(key="foreign", title="Other timings", blocks=[Prose(text=text), table])
