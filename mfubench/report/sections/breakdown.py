"""Where the step's time goes: the waterfall, and the roofline above the same case."""

from __future__ import annotations

from functools import partial

from mfubench.analysis.roofline import Reach, reaches, roof_of, roof_points
from mfubench.results.collection import Case, Collection
from mfubench.results.outcomes import known
from mfubench.show.account import (
    LABELS,
    bar_label,
    breakdown_sentences,
    breakdown_title,
)
from mfubench.show.blocks import Block, Cell, Heading, Prose, Section, Table, drawn_twice
from mfubench.show.figures.roofline import roofline
from mfubench.show.figures.waterfall import waterfall
from mfubench.show.units import UNKNOWN, format_share, format_si

QUESTIONS = ("breakdown", "breakdown-loop")


def breakdown_section(collection: Collection) -> Section | None:
    """A waterfall per breakdown."""
    blocks: list[Block] = []
    for index, case in enumerate(collection.ok(*QUESTIONS)):
        if case.record.breakdown is not None:
            blocks += _waterfall(collection, case, f"waterfall-{index}")
        elif problem := case.record.breakdown_problem:
            blocks.append(Prose(text=f"{case.record.case_id}: {problem}.", kind="note"))
    if not blocks:
        return None
    note = (
        "Bars add up to the step; each starts where the one before ends. Grey is the least that a "
        "bar could take by closed form at the measured ceilings, the accent what lies above it. "
        "Points are percent of the step: the first bar's are the MFU."
    )
    blocks.insert(0, Prose(text=note, kind="note"))
    return Section(key="breakdown", title="Where the time goes", blocks=blocks)


def _waterfall(collection: Collection, case: Case, key: str) -> list[Block]:
    record = case.record
    bars = known(record.breakdown)
    name = collection.place(case) + breakdown_title(record)
    sentences = breakdown_sentences(record)

    draw = partial(waterfall, bars, title=f"Waterfall of {name}", description=sentences)
    table = Table(
        name=f"Bars of {name}",
        columns=("bar", "#ms", "#points", "#could be, ms", "#to win, ms", "source"),
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
    figure = drawn_twice(key, "From peak to the step", draw, table=table)
    return [Heading(text=name), Prose(text=sentences), figure]


def _ms(seconds: float | None) -> Cell:
    return Cell(text=UNKNOWN if seconds is None else f"{seconds * 1e3:.3f}", value=seconds)


def roofline_section(collection: Collection) -> Section | None:
    """A roofline per breakdown of a step."""
    ceilings = collection.ok("ceiling")
    blocks: list[Block] = []
    for index, case in enumerate(collection.ok("breakdown")):
        here = [c.record for c in ceilings if c.run.machine == case.run.machine]
        roof = roof_of(case.record, here)
        if roof is None or case.record.breakdown is None:
            continue
        points = roof_points(case.record, here)
        if not any(point.is_model for point in points):
            continue
        name = collection.place(case) + breakdown_title(case.record)
        told = "; ".join(
            f"{p.name} {format_si(p.flops_per_s, 'FLOP/s')} at {p.flops_per_byte:.3g} FLOPs per "
            "byte"
            for p in points
            if p.is_model
        )

        draw = partial(roofline, roof, points, title=f"Roofline of {name}", description=told)
        figure = drawn_twice(f"roofline-{index}", "Under the measured ceilings", draw)
        blocks += [Heading(text=name), figure]
        if moved := reaches(known(case.record.breakdown)):
            blocks.append(_reach_table(moved, name))
    if not blocks:
        return None
    note = (
        "The roof is measured here: the fastest matrix multiplication and the fastest stream "
        "through memory. Intensity counts the least traffic, so a component that moves more stands "
        "further left than drawn. Small dots are the matrix products that were tried for the "
        "ceiling."
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
            "#to win, ms",
        ),
        rows=rows,
    )
