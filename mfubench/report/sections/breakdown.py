"""Where the step's time goes: the waterfall, and the roofline above the same case."""

from __future__ import annotations

from functools import partial

from mfubench.analysis.roofline import Reach, reaches, roof_of, roof_points
from mfubench.report.headline import workloads_of
from mfubench.results.collection import Case, Collection
from mfubench.results.outcomes import known
from mfubench.show.account import (
    LABELS,
    bar_label,
    breakdown_sentences,
)
from mfubench.show.blocks import Block, Cell, Fold, Heading, Prose, Section, Table, drawn_twice
from mfubench.show.case_name import plain_case
from mfubench.show.figures.roofline import roofline
from mfubench.show.figures.waterfall import waterfall
from mfubench.show.units import UNKNOWN, format_share, format_si

QUESTIONS = ("breakdown", "script", "breakdown-loop")


def breakdown_section(collection: Collection) -> Section | None:
    """A waterfall per breakdown of a step or a script; those of loops are folded."""
    cases = collection.ok(*QUESTIONS)
    cases.sort(key=lambda case: QUESTIONS.index(case.record.question))
    blocks: list[Block] = []
    folded: list[Block] = []
    leading = _leading(collection, cases)
    for index, case in enumerate(cases):
        if case.record.breakdown is not None:
            into = blocks if any(case is one for one in leading) else folded
            into += _waterfall(collection, case, f"waterfall-{index}")
        elif problem := case.record.breakdown_problem:
            blocks.append(Prose(text=f"{case.record.case_id}: {problem}.", kind="note"))
    if not (blocks or folded):
        return None
    if folded:
        count = sum(isinstance(block, Heading) for block in folded)
        what = "breakdown" if count == 1 else "breakdowns"
        blocks.append(Fold(summary=f"{count} more {what}: loops and other cases", blocks=folded))
    note = (
        "Bars add up to the step; each starts where the one before ends. Orange: time that could "
        "be saved. Grey: minimum at this machine's measured limits. The first bar is the "
        "minimum at the peak; its share is the MFU."
    )
    blocks.insert(0, Prose(text=note, kind="note"))
    return Section(key="breakdown", title="Where the time goes", blocks=blocks)


def _leading(collection: Collection, cases: list[Case]) -> list[Case]:
    """One breakdown of each machine, which is shown without a click: that of its card."""
    found: dict[str, Case] = {}
    for case in cases:
        if case.record.breakdown is None:
            continue
        first = workloads_of(collection, case.run.machine)[:1]
        if first and first[0].breakdown is case.record:
            found[case.run.machine] = case
        found.setdefault(case.run.machine, case)
    return list(found.values())


def _waterfall(collection: Collection, case: Case, key: str) -> list[Block]:
    record = case.record
    bars = known(record.breakdown)
    name = collection.place(case) + plain_case(record)
    sentences = breakdown_sentences(record)

    draw = partial(waterfall, bars, title=f"Waterfall of {name}", description=sentences)
    table = Table(
        name=f"Bars of {name}",
        columns=("bar", "#ms", "#% of step", "#minimum, ms", "#to save, ms", "source"),
        rows=[
            [
                Cell(text=bar_label(bar)),
                _ms(bar.seconds),
                Cell(text=f"{bar.points * 100:.1f}", value=bar.points),
                _ms(bar.floor_s),
                _ms(bar.to_win_s),
                Cell(text=bar.source),
            ]
            for bar in bars
        ],
        is_folded=True,
    )
    return [Heading(text=name), drawn_twice(key, "", draw, table=table), Prose(text=sentences)]


def _ms(seconds: float | None) -> Cell:
    return Cell(text=UNKNOWN if seconds is None else f"{seconds * 1e3:.3f}", value=seconds)


def roofline_section(collection: Collection) -> Section | None:
    """A roofline per breakdown of a step."""
    ceilings = collection.ok("ceiling")
    blocks: list[Block] = []
    folded: list[Block] = []
    leading = _leading(collection, collection.ok("breakdown"))
    for index, case in enumerate(collection.ok("breakdown")):
        here = [c.record for c in ceilings if c.run.machine == case.run.machine]
        roof = roof_of(case.record, here)
        if roof is None or case.record.breakdown is None:
            continue
        points = roof_points(case.record, here)
        if not any(point.is_model for point in points):
            continue
        name = collection.place(case) + plain_case(case.record)
        told = "; ".join(
            f"{p.name} {format_si(p.flops_per_s, 'FLOP/s')} at {p.flops_per_byte:.3g} FLOPs per "
            "byte"
            for p in points
            if p.is_model
        )

        draw = partial(roofline, roof, points, title=f"Roofline of {name}", description=told)
        into = blocks if any(case is one for one in leading) else folded
        into += [Heading(text=name), drawn_twice(f"roofline-{index}", "", draw)]
        if moved := reaches(known(case.record.breakdown)):
            moving = [_reach_table(moved, name)]
            into.append(Fold(summary="Components that only move bytes", blocks=moving))
    if not (blocks or folded):
        return None
    if folded:
        blocks.append(Fold(summary="Rooflines of other cases", blocks=folded))
    note = (
        "A dot under the roof loses time; the lines are this machine's measured limits. Small dots "
        "are the matrix products that were tried for the limit. Intensity counts the least "
        "traffic, so a component that moves more stands further left than drawn."
    )
    blocks.append(Prose(text=note, kind="note"))
    return Section(key="roofline", title="Roofline", blocks=blocks)


def _reach_table(moved: list[Reach], name: str) -> Table:
    rows = [
        [
            Cell(text=LABELS.get(reach.name, reach.name)),
            _ms(reach.seconds),
            Cell(text=format_si(reach.bytes_per_s, "B/s"), value=reach.bytes_per_s),
            Cell(text=format_share(reach.ratio, digits=2), value=reach.ratio),
            _ms(reach.seconds - reach.floor_s),
        ]
        for reach in moved
    ]
    return Table(
        name=f"Components that only move bytes, {name}",
        columns=(
            "component",
            "#ms",
            "#least traffic over time",
            "#of the bandwidth",
            "#to save, ms",
        ),
        rows=rows,
    )
