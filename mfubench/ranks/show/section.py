"""The page's section about many ranks: the scaling curve in its parts, ranks side by side, a step
over ranks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mfubench.ranks.show.text import MECHANISM, ranks_sentences, signed, step_bars, with_interval
from mfubench.results.collection import Collection
from mfubench.results.outcomes import known
from mfubench.results.ranks import CollectiveRate, RankFigures
from mfubench.results.record import CaseRecord
from mfubench.show.blocks import (
    Block,
    Cell,
    Figure,
    Fold,
    Heading,
    Prose,
    Section,
    Table,
    drawn_twice,
)
from mfubench.show.figures.lines import Curve, curves
from mfubench.show.figures.timeline import Row, Stretch, time_line
from mfubench.show.units import UNKNOWN, format_bytes, format_share, format_si

SHOWN_RANKS = 64
COMPUTES, WAITS, COMMUNICATES = "computes", "waits for the slowest", "communicates and updates"
LOOKS = {COMPUTES: "run product", WAITS: "run waiting", COMMUNICATES: "run communication"}


def ranks_section(collection: Collection) -> Section | None:
    """Every case on several ranks that went well."""
    records = [case.record for case in collection.ok("ranks")]
    if not records:
        return None
    blocks: list[Block] = []
    if any(record.is_a_test_of_the_mechanism for record in records):
        blocks.append(Prose(text=MECHANISM, kind="note"))
    for index, (name, group) in enumerate(_series(records).items()):
        blocks.append(Heading(text=name))
        if len({record.ranks for record in group}) > 1:
            blocks.append(_curve(name, group, f"ranks-{index}"))
        blocks.append(_parts(group))
        last = group[-1]
        blocks += [Prose(text=sentence) for sentence in ranks_sentences(last)]
        blocks.append(_bars(last))
        if last.ranks_timeline:
            blocks.append(_timeline(last, f"ranks-step-{index}"))
        folded: list[Block] = [_side_by_side(last.per_rank or [])]
        if last.collectives:
            folded.append(_collectives(last.collectives))
        blocks.append(Fold(summary="Ranks side by side, and collectives", blocks=folded))
    return Section(key="ranks", title="Many ranks", blocks=blocks)


def _series(records: Sequence[CaseRecord]) -> dict[str, list[CaseRecord]]:
    """Cases that differ in the number of ranks alone, fewest first."""
    found: dict[str, list[CaseRecord]] = {}
    for record in sorted(records, key=lambda one: one.ranks or 0):
        setting = record.setting.rpartition("/")[0]
        found.setdefault(f"{setting}, {record.strategy}, {record.scaling}", []).append(record)
    return found


def _curve(name: str, group: Sequence[CaseRecord], key: str) -> Figure:
    """Times one rank's speed over ranks: as measured, and what each part leaves of the ideal."""
    ranks = [float(known(record.ranks)) for record in group]
    batches = [r.smaller_batch.value if r.smaller_batch else 1.0 for r in group]
    shared = [
        known(r.ranks) * known(r.contention).value * batch
        for r, batch in zip(group, batches, strict=True)
    ]
    waited = [s * known(r.skew).value for s, r in zip(shared, group, strict=True)]
    lines = [
        Curve(name="ideal", xs=ranks, ys=ranks, look="second"),
        Curve(name="after sharing the machine", xs=ranks, ys=shared, look="second"),
        Curve(name="after waiting, too", xs=ranks, ys=waited, look="second"),
        Curve(
            name="measured (after communication, too)",
            xs=ranks,
            ys=[known(r.ranks) * known(r.efficiency).value for r in group],
            lows=[known(r.ranks) * known(r.efficiency).low for r in group],
            highs=[known(r.ranks) * known(r.efficiency).high for r in group],
        ),
    ]
    draw = partial(
        curves,
        lines,
        title=f"Speed over ranks, {name}",
        description="Times one rank's speed, with what each part leaves of it.",
        x_name="ranks",
        y_name="times one rank",
        show_x=lambda x: f"{x:g}",
        show_y=lambda y: f"{y:.3g}",
    )
    return drawn_twice(key, f"Times one rank's speed: {name}", draw)


def _parts(group: Sequence[CaseRecord]) -> Table:
    return Table(
        name="Parts of the efficiency",
        columns=(
            *("ranks", "#ms/step", "#times", "efficiency", "smaller batch", "contention"),
            *("exposed communication", "skew", "#MFU"),
        ),
        rows=[
            [
                Cell(text=f"{record.ranks}", value=record.ranks),
                _ms(record.step_s),
                _times(record),
                *(
                    Cell(text=with_interval(part), value=part.value if part else None)
                    for part in (
                        record.efficiency,
                        record.smaller_batch,
                        record.contention,
                        record.communication_exposed,
                        record.skew,
                    )
                ),
                Cell(text=format_share(record.mfu), value=record.mfu),
            ]
            for record in group
        ],
        is_cards=True,
    ).without_empty_columns()


def _bars(record: CaseRecord) -> Table:
    step_s = known(record.step_s)
    bars = step_bars(record)
    if record.communication_hidden_s is not None:
        bars.append(("beside these: communication, hidden", record.communication_hidden_s))
    return Table(
        name=f"Where a step on {record.ranks} ranks goes",
        columns=("part", "#ms", "#share"),
        rows=[
            [
                Cell(text=name),
                _ms(seconds),
                Cell(text=f"{seconds / step_s * 100:.1f} %", value=seconds / step_s),
            ]
            for name, seconds in bars
        ],
    )


def _times(record: CaseRecord) -> Cell:
    times = known(record.ranks) * known(record.efficiency).value
    return Cell(text=f"{times:.2f}", value=times)


def _timeline(record: CaseRecord, key: str) -> Figure:
    spans = known(record.ranks_timeline)[:SHOWN_RANKS]
    latest = max(span["arrived_s"] for span in spans)
    rows = [
        Row(
            name=f"rank {span['rank']}",
            stretches=[
                _stretch(span["start_s"], span["arrived_s"], COMPUTES),
                _stretch(span["arrived_s"], latest, WAITS),
                _stretch(latest, span["end_s"], COMMUNICATES),
            ],
        )
        for span in spans
    ]
    draw = partial(
        time_line,
        rows,
        LOOKS,
        max(span["end_s"] for span in spans),
        title=f"A step over {record.ranks} ranks",
        description="Each rank computes until its last gradient is ready, and waits for the rank "
        "that comes last.",
    )
    return drawn_twice(key, f"A step over {record.ranks} ranks, clocks set by each other", draw)


def _stretch(start_s: float, end_s: float, kind: str) -> Stretch:
    tip = f"{kind}, {start_s * 1e3:.2f} to {end_s * 1e3:.2f} ms"
    return Stretch(start_s=start_s, end_s=max(start_s, end_s), share=1.0, kind=kind, tip=tip)


def _side_by_side(figures: Sequence[RankFigures]) -> Table:
    return Table(
        name="Ranks side by side",
        columns=(
            *("#rank", "#host", "machine", "#alone, ms", "#beside, ms", "#together, ms"),
            *("#waited, ms", "#late, ms", "#clock, µs", "#product, FLOP/s", "#copy, B/s"),
        ),
        rows=[
            [
                Cell(text=str(one.rank), value=one.rank),
                Cell(text=str(one.host), value=one.host),
                Cell(text=one.machine or UNKNOWN),
                *map(_ms, (one.alone_s, one.beside_s, one.step_s, one.waited_s)),
                Cell(text=signed(one.late_s), value=one.late_s),
                _clock(one),
                Cell(text=format_si(one.gemm_flops_per_s, ""), value=one.gemm_flops_per_s),
                Cell(text=format_si(one.copy_bytes_per_s, ""), value=one.copy_bytes_per_s),
            ]
            for one in figures[:SHOWN_RANKS]
        ],
    ).without_empty_columns()


def _clock(one: RankFigures) -> Cell:
    if one.clock_offset_s is None or one.clock_error_s is None:
        return Cell(text=UNKNOWN)
    text = f"{one.clock_offset_s * 1e6:.0f} ± {one.clock_error_s * 1e6:.0f}"
    return Cell(text=text, value=one.clock_offset_s)


def _collectives(found: Sequence[CollectiveRate]) -> Table:
    return Table(
        name="Collectives on this process group",
        columns=("collective", "dtype", "#bytes", "#ms", "#algorithm, B/s", "#bus, B/s", "step"),
        rows=[
            [
                Cell(text=one.collective),
                Cell(text=one.dtype),
                Cell(text=format_bytes(one.bytes), value=one.bytes),
                _ms(one.seconds),
                _rate(one.algorithm_bytes_per_s),
                _rate(one.bus_bytes_per_s),
                Cell(text="sends this" if one.used_by_step else UNKNOWN),
            ]
            for one in found
        ],
    ).without_empty_columns()


def _rate(bytes_per_s: float) -> Cell:
    return Cell(text=format_si(bytes_per_s, ""), value=bytes_per_s)


def _ms(seconds: float | None) -> Cell:
    return Cell(text=UNKNOWN if seconds is None else f"{seconds * 1e3:.2f}", value=seconds)
