"""The machines side by side, and matching cases paired."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from mfubench_model.flops import model_flops_per_step
from mfubench_model.presets import PRESETS

from mfubench.predict.document import Setting
from mfubench.predict.elsewhere import machine_elsewhere
from mfubench.predict.predict import predict
from mfubench.report.headline import BREAKDOWN, breakdown_of, doubt_of
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
NOT_HERE = "NVIDIA GeForce RTX 4070 Ti"
"""The device whose row is predicted: nanoGPT's readers have it more often than an A100."""


def machines_section(collection: Collection) -> Section | None:
    """One row per machine, device and preset; a single one has its card already."""
    groups: dict[tuple[str, str, str], list[Case]] = defaultdict(list)
    for case in collection.ok(*TRAINING):
        groups[case.run.machine, case.record.device, str(case.record.preset)].append(case)
    if len(groups) < 2:
        return None
    rows = [_row(collection, cases) for cases in groups.values()]
    predicted = _predicted_row(collection, groups)
    rows += [predicted] if predicted else []
    blocks: list[Block] = [Table(name="Machines", columns=COLUMNS, rows=rows, is_cards=True)]
    blocks.append(
        Prose(
            text="Each row is the case that comes nearest to nanoGPT's own settings. The limit is "
            "the best matrix product measured on that device. Training time is predicted from the "
            "measured loop. What binds is from the breakdown.",
            kind="note",
        )
    )
    if predicted:
        blocks.append(
            Prose(
                text=f"{NOT_HERE} was not measured: its row is predicted from its maker's peaks "
                "alone, in bfloat16, compiled. mfubench predict says how, and how wrong that is.",
                kind="note",
            )
        )
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


def _predicted_row(
    collection: Collection, groups: dict[tuple[str, str, str], list[Case]]
) -> list[Cell] | None:
    """A device that none of these is, as nanoGPT would run the first preset on it; None where it
    was measured, or where no group is of a preset."""
    names = {collection.device_name(cases[0]) for cases in groups.values()}
    preset = next((PRESETS[name] for _, _, name in groups if name in PRESETS), None)
    if preset is None or NOT_HERE in names:
        return None
    setting = Setting.of(
        preset.config,
        preset=preset.name,
        device="cuda",
        dtype="bfloat16",
        batch_size=preset.batch_size,
        compile=True,
    )
    machine = machine_elsewhere(NOT_HERE, Path())
    found = predict(setting, machine, iterations=preset.max_iters)
    if found.step_s is None or found.low_s is None or found.high_s is None:
        return None
    achieved = model_flops_per_step(preset.config, preset.batch_size) / found.step_s
    low, high = (format_duration(found.run_s * x / found.step_s) if found.run_s else UNKNOWN
                 for x in (found.low_s, found.high_s))  # fmt: skip
    peak = format_si(machine.peaks.get("bfloat16"), "FLOP/s")
    return [
        Cell(text=NOT_HERE, note="predicted, not measured"),
        Cell(text=preset.name, note=f"bfloat16, batch {preset.batch_size}"),
        Cell(text=UNKNOWN),
        Cell(text=format_si(achieved, "FLOP/s"), value=achieved, note="predicted"),
        Cell(text=format_share(found.mfu), value=found.mfu, note=f"predicted, of {peak}"),
        Cell(
            text=format_duration(found.run_s),
            value=found.run_s,
            note=f"{preset.max_iters:,} iterations; {low} to {high}",
        ),
        Cell(text=str(found.binds)),
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
