"""The machines side by side, and matching cases paired."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from mfubench_model.presets import PRESETS

from mfubench.predict.elsewhere import KnownDevice
from mfubench.report.headline import BREAKDOWN, breakdown_of, doubt_of
from mfubench.report.sections.predicted import has_number, not_here, predicted_note, predicted_rows
from mfubench.results.collection import Case, Collection
from mfubench.results.outcomes import TRAINING, Outcome, known
from mfubench.show.blocks import Block, Cell, Prose, Section, Table
from mfubench.show.units import UNKNOWN, format_duration, format_share, format_si

COLUMNS = (
    "device",
    "model",
    "#measured limit",
    "#achieved",
    "#MFU",
    "#training, predicted",
    "what binds",
)


def machines_section(collection: Collection, asked: Sequence[KnownDevice] = ()) -> Section | None:
    """One row per machine, device and preset, and those of devices that are predicted; a single one
    has its card already.

    Beside two, a device that nobody has is predicted where none is asked for.
    """
    groups: dict[tuple[str, str, str], list[Case]] = defaultdict(list)
    for case in collection.ok(*TRAINING):
        groups[case.run.machine, case.record.device, str(case.record.preset)].append(case)
    if len(groups) < 2 and not asked:
        return None
    rows = [_row(collection, cases) for cases in groups.values()]
    presets = [PRESETS[p] for p in dict.fromkeys(p for _, _, p in groups) if p in PRESETS]
    if asked:
        predicted = predicted_rows(asked, presets or [PRESETS["nanogpt-cpu"]])
    else:
        asked = not_here({collection.device_name(cases[0]) for cases in groups.values()})
        predicted = [row for row in predicted_rows(asked, presets[:1]) if has_number(row)]
    rows += predicted
    blocks: list[Block] = [Table(name="Machines", columns=COLUMNS, rows=rows, is_cards=True)]
    if groups:
        blocks.append(
            Prose(
                text="Each row is the case that comes nearest to nanoGPT's own settings. The limit "
                "is the best matrix product measured on that device. Training time is predicted "
                "from the measured loop. What binds is from the breakdown.",
                kind="note",
            )
        )
    if predicted:
        blocks.append(Prose(text=predicted_note(asked), kind="note"))
    blocks += _pairs(collection, groups)
    return Section(key="machines", title="Side by side", blocks=blocks)


def _row(collection: Collection, cases: list[Case]) -> list[Cell]:
    base = min(cases, key=lambda case: case.record.distance)
    record = base.record
    loops = [c for c in cases if c.record.question == "train-loop"]
    seconds = iterations = None
    loop = min(loops, key=lambda case: case.record.distance).record if loops else None
    if loop is not None and not (doubt_of(record) or doubt_of(loop)):
        seconds, iterations = loop.predicted_training_s, loop.max_iters
    peak = "an unknown peak"
    if record.peak_flops_per_s is not None:
        peak = format_si(record.peak_flops_per_s, "FLOP/s")
    return [
        Cell(
            text=collection.device_name(base),
            note=f"{collection.label(base.run.machine)} · {record.device}",
        ),
        Cell(text=str(record.preset), note=f"{record.dtype}, batch {record.batch_size}"),
        Cell(
            text=format_si(record.ceiling_flops_per_s, "FLOP/s"), value=record.ceiling_flops_per_s
        ),
        Cell(
            text=format_si(record.achieved_flops_per_s, "FLOP/s"),
            value=record.achieved_flops_per_s,
            note=f"{format_share(record.ceiling_utilisation)} of the limit",
        ),
        Cell(text=format_share(record.mfu), value=record.mfu, note=f"of {peak}"),
        Cell(
            text=format_duration(seconds),
            value=seconds,
            note=f"{iterations:,} iterations" if iterations else "",
        ),
        Cell(text=_binds(collection, base)),
    ]


def _binds(collection: Collection, base: Case) -> str:
    here = [c.record for c in collection.cases if c.run.machine == base.run.machine]
    found = breakdown_of(base.record, [r for r in here if r.outcome is Outcome.OK])
    return str(found.breakdown_binds) if found and found.breakdown_binds else BREAKDOWN


def _pairs(collection: Collection, groups: dict[tuple[str, str, str], list[Case]]) -> list[Block]:
    """Cases that several devices have in common: whatever the device, the same work."""
    by_work: dict[tuple[object, ...], dict[tuple[str, str], Case]] = defaultdict(dict)
    for (machine, device, _), cases in groups.items():
        for case in cases:
            r = case.record
            work = (r.question, r.preset, r.dtype, r.batch_size, r.compile)
            by_work[work][machine, device] = case
    common = [found for found in by_work.values() if len(found) > 1]
    if not common:
        return []
    places = list(dict.fromkeys(place for found in common for place in found))
    rows = []
    for found in common:
        first = found.get(places[0]) or next(iter(found.values()))
        record = first.record
        name = f"{record.question}, {record.preset}, {record.dtype}, batch {record.batch_size}"
        cells = [Cell(text=f"{name}, {record.how}")]
        for at in places:
            cells.append(_against(first, found.get(at)))
        rows.append(cells)
    heads = [f"#{collection.label(machine)} · {device}" for machine, device in places]
    return [
        Table(name="The same work on each, tokens/s", columns=("case", *heads), rows=rows),
        Prose(
            text="× is tokens/s over those of the first device in the row. The runs are from "
            "different times, so there is no interval.",
            kind="note",
        ),
    ]


def _against(first: Case, case: Case | None) -> Cell:
    if case is None:
        return Cell(text=UNKNOWN)
    tokens = known(case.record.tokens_per_s)
    ratio = tokens / known(first.record.tokens_per_s)
    text = f"{tokens:,.0f}" + ("" if case is first else f" (×{ratio:.2f})")
    return Cell(text=text, value=tokens)
