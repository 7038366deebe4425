"""The heat maps: tokens/s and ceiling utilisation over device, dtype, batch size and compile."""

from __future__ import annotations

from functools import partial

from mfubench.results.collection import Case, Collection
from mfubench.results.outcomes import Outcome
from mfubench.show.blocks import Block, Cell, Fold, Prose, Section, Table, drawn_twice, words
from mfubench.show.case_name import plain_case
from mfubench.show.figures.heatmap import HeatCell, heatmap
from mfubench.show.units import format_share, format_si

OUTCOMES = {
    "out_of_memory": "no memory",
    "compile_failed": "no compile",
    "unsupported": "unsupported",
    "unavailable": "absent",
}
TITLE = "Batch and dtype"
LEAST_CELLS = 4
QUANTITIES = (
    ("tokens", "tokens_per_s", "Tokens per second"),
    ("utilisation", "ceiling_utilisation", "Share of the measured limit"),
)


def heat_section(collection: Collection) -> Section | None:
    """A map of the training steps, with the share of the limit folded; hatched where there is a
    reason instead of a number. Left out below four cells: the table of all cases has them."""
    cases = [
        c for c in collection.cases if c.record.question == "train-step" and c.record.batch_size
    ]
    if not cases:
        return None
    if len({(_row_name(collection, case), case.record.batch_size) for case in cases}) < LEAST_CELLS:
        return _missing_only(cases, collection)
    blocks: list[Block] = []
    folded: list[Block] = []
    for key, field, title in QUANTITIES:
        if not any(getattr(case.record, field) for case in cases):
            continue
        rows, columns, cells = _grid(collection, cases, field)
        told = "; ".join(
            f"{r.replace(chr(10), ' ')}, {c}: {cell.text}" for (r, c), cell in cells.items()
        )
        draw = partial(heatmap, rows, columns, cells, title=title, description=told)
        into = folded if blocks else blocks
        into.append(drawn_twice(f"heat-{key}", title, draw))
    blocks.append(
        Prose(
            text="A stronger colour is more, among the cases of one model on one device. A hatched "
            "cell was asked for and has no number; an empty one was not asked for.",
            kind="note",
        )
    )
    if folded:
        blocks.append(Fold(summary="The same as a share of the measured limit", blocks=folded))
    blocks += _missing(cases, collection)
    return Section(key="heat", title=TITLE, blocks=blocks)


def _missing_only(cases: list[Case], collection: Collection) -> Section | None:
    blocks = _missing(cases, collection)
    return Section(key="heat", title=TITLE, blocks=blocks) if blocks else None


def _missing(cases: list[Case], collection: Collection) -> list[Block]:
    missing = [
        [
            Cell(text=plain_case(c.record), note=collection.place(c).rstrip(": ")),
            *words(c.record.outcome, _reason(c)),
        ]
        for c in cases
        if c.record.outcome != Outcome.OK
    ]
    if not missing:
        return []
    columns = ("case", "outcome", "reason")
    return [Table(name="Without a number", columns=columns, rows=missing, is_cards=True)]


def _reason(case: Case) -> str:
    return str(case.record.outcome_reason)


def _row_name(collection: Collection, case: Case) -> str:
    """Dtype and mode; what else tells the rows apart below it."""
    record = case.record
    steps = [c for c in collection.cases if c.record.question == "train-step"]
    here = {c.record.device for c in steps if c.run.machine == case.run.machine}
    below = [str(record.preset)] if len({c.record.preset for c in steps}) > 1 else []
    below += [record.device] if len(here) > 1 else []
    if len(collection.machines) > 1:
        below.append(collection.label(case.run.machine))
    return "\n".join(filter(None, (f"{record.dtype}, {record.how}", " · ".join(below))))


def _grid(
    collection: Collection, cases: list[Case], field: str
) -> tuple[list[str], list[str], dict[tuple[str, str], HeatCell]]:
    sizes = sorted({case.record.batch_size or 0 for case in cases})
    rows = list(dict.fromkeys(_row_name(collection, case) for case in cases))
    most: dict[tuple[object, ...], float] = {}
    for case in cases:
        most[_peers(case)] = max(most.get(_peers(case), 0.0), getattr(case.record, field) or 0.0)
    cells = {}
    for case in cases:
        record, value = case.record, getattr(case.record, field)
        if record.outcome != Outcome.OK:
            text, share = OUTCOMES.get(record.outcome, str(record.outcome)), None
            tip = f"{record.case_id}: {record.outcome}: {_reason(case)}"
        else:
            text = _text(field, value)
            share = None if value is None else value / (most[_peers(case)] or 1.0)
            tip = f"{record.case_id}: {text}"
        cells[_row_name(collection, case), f"batch {record.batch_size}"] = HeatCell(
            text=text, share=share, tip=tip
        )
    return rows, [f"batch {size}" for size in sizes], cells


def _peers(case: Case) -> tuple[object, ...]:
    """What a colour compares: a GPU beside a CPU would leave the CPU without any."""
    return case.run.machine, case.record.device, case.record.preset


def _text(field: str, value: float | None) -> str:
    if field == "tokens_per_s":
        return format_si(value, "").strip()
    return format_share(value)
