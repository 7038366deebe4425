"""The page's section about traces: the time line of the typical step, its bars, its products."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mfubench.analysis import components
from mfubench.results.collection import Collection
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
from mfubench.show.figures.timeline import Row, Stretch, time_line
from mfubench.show.units import UNKNOWN, format_share
from mfubench.trace import idle
from mfubench.trace.bars import COMMUNICATION, HOST_COPIES, UNLINKED
from mfubench.trace.document import Gemm, Rank, Span, Step, TraceAccount
from mfubench.trace.text import bar_label, median_step, sentences, steps_of, title
from mfubench.trace.timeline import IDLE_ROW

SHOWN_TRACES, SHOWN_RANKS, SHOWN_STEPS, SHOWN_GEMMS = 4, 4, 50, 15

PRODUCTS, CALCULATION, COPIES = "GEMMs and attention", "other calculation", "copies"
OPTIMIZER = "optimizer"
HOST, WAITING, UNRECORDED = "idle: host late", "idle: waiting", "not recorded"
LOOKS = {
    PRODUCTS: "run product",
    CALCULATION: "run other",
    OPTIMIZER: "run optimizer",
    COMMUNICATION: "run communication",
    COPIES: "run copies",
    UNLINKED: "run unlinked",
    HOST: "run late",
    WAITING: "run waiting",
    UNRECORDED: "run lost",
}
"""What is told apart by colour, with its class in the style sheet."""
_KINDS = {
    components.GEMM: PRODUCTS,
    components.ATTENTION: PRODUCTS,
    components.OPTIMIZER: OPTIMIZER,
    components.CLIP: OPTIMIZER,
    components.COPIES: COPIES,
    HOST_COPIES: COPIES,
    COMMUNICATION: COMMUNICATION,
    UNLINKED: UNLINKED,
    idle.HOST: HOST,
    idle.LAUNCHED: WAITING,
    idle.DATA: WAITING,
    idle.SYNC: WAITING,
    idle.RANKS: WAITING,
    idle.GRAPH: UNRECORDED,
    idle.LOST: UNRECORDED,
    idle.UNKNOWN: UNRECORDED,
}


def trace_section(collection: Collection) -> Section | None:
    """The newest traces, one time line per rank."""
    blocks: list[Block] = []
    for index, document in enumerate(collection.documents.get("trace", [])[:SHOWN_TRACES]):
        account = document.read(TraceAccount)
        for number, rank in enumerate(account.ranks[:SHOWN_RANKS]):
            blocks += _rank(account, rank, f"trace-{index}-{number}")
    if not blocks:
        return None
    if not any(isinstance(block, Figure) for block in blocks):
        return Section(key="trace", title="Traces", blocks=blocks)
    note = (
        "A row per stream of the device; a mark's height is the share of its stretch in which the "
        "stream was busy. The last row says why nothing ran. Bars add up to the step, and what ran "
        "beside something else counts once (docs/trace.md)."
    )
    return Section(key="trace", title="Traces", blocks=[Prose(text=note, kind="note"), *blocks])


def _rank(account: TraceAccount, rank: Rank, key: str) -> list[Block]:
    own = steps_of(account, rank)
    step = median_step(rank, own)
    blocks: list[Block] = [Heading(text=title(rank)), Prose(text=sentences(rank, step))]
    bars = _bars(step)
    if step.timeline:
        blocks.append(_figure(rank, step, key, bars))
    else:
        blocks.append(bars)
    folded: list[Block] = []
    if len(own) > 1:
        folded.append(_steps(own[:SHOWN_STEPS]))
    if step.gemms:
        folded.append(_gemms(step.gemms[:SHOWN_GEMMS]))
    if folded:
        blocks.append(Fold(summary="Every step, and its matrix products", blocks=folded))
    blocks += [Prose(text=f"Note: {note}.", kind="note") for note in (*rank.notes, *account.notes)]
    return blocks


def _figure(rank: Rank, step: Step, key: str, table: Table) -> Figure:
    names = list(dict.fromkeys(span.row for span in step.timeline))
    rows = [
        Row(
            name="idle, why" if name == IDLE_ROW else f"stream {name}",
            stretches=[_stretch(span) for span in step.timeline if span.row == name],
        )
        for name in names
    ]
    draw = partial(
        time_line,
        rows,
        LOOKS,
        step.step_s,
        title=f"Time line of {step.name}, {title(rank)}",
        description=sentences(rank, step),
    )
    return drawn_twice(key, f"What the device ran in {step.name}", draw, table=table)


def _stretch(span: Span) -> Stretch:
    kind = _KINDS.get(span.bar, CALCULATION)
    return Stretch(
        start_s=span.start_s,
        end_s=span.end_s,
        share=span.share,
        kind=kind,
        tip=f"{bar_label(span.bar)}, {span.start_s * 1e3:.2f} to {span.end_s * 1e3:.2f} ms, "
        f"{'' if span.row == IDLE_ROW else 'busy '}{span.share:.0%} of it",
    )


def _bars(step: Step) -> Table:
    return Table(
        name=f"Bars of {step.name}",
        columns=("bar", "#ms", "#of the step", "#its kernels, ms", "#kernels", "#in graphs, ms"),
        rows=[
            [
                Cell(text=bar_label(bar.name)),
                _ms(bar.seconds),
                _share(bar.seconds / step.step_s if step.step_s else None),
                _ms(bar.device_sum_s if bar.kernels else None),
                Cell(text=f"{bar.kernels:g}" if bar.kernels else UNKNOWN, value=bar.kernels),
                _ms(bar.graph_s or None),
            ]
            for bar in step.account
        ],
        is_folded=True,
    ).without_empty_columns()


def _steps(own: Sequence[Step]) -> Table:
    return Table(
        name="Every step",
        columns=(
            "step",
            "#ms",
            "#busy",
            "#idle",
            "#unlinked",
            "#communication",
            "#exposed",
            "#operators",
            "#MFU",
        ),
        rows=[
            [
                Cell(text=step.name),
                _ms(step.step_s),
                _ms(step.device_busy_s),
                _ms(step.device_idle_s),
                _ms(step.unlinked_s),
                _ms(step.communication_s),
                _ms(step.communication_exposed_s),
                Cell(text=f"{step.operators}", value=step.operators),
                _share(step.mfu),
            ]
            for step in own
        ],
        is_cards=True,
    ).without_empty_columns()


def _gemms(gemms: Sequence[Gemm]) -> Table:
    return Table(
        name="What its products reach, m×n×k",
        columns=("product", "format", "#calls", "#ms", "#TFLOP/s", "#of the peak"),
        is_cards=True,
        rows=[
            [
                Cell(text=f"{gemm.operator.removeprefix('aten::')} {gemm.sizes}"),
                Cell(text=gemm.dtype),
                Cell(text=f"{gemm.calls:g}", value=gemm.calls),
                _ms(gemm.seconds),
                Cell(text=f"{gemm.flops_per_s / 1e12:.3g}", value=gemm.flops_per_s),
                _share(gemm.of_peak),
            ]
            for gemm in gemms
        ],
    ).without_empty_columns()


def _ms(seconds: float | None) -> Cell:
    return Cell(text=UNKNOWN if seconds is None else f"{seconds * 1e3:.3f}", value=seconds)


def _share(value: float | None) -> Cell:
    return Cell(text=format_share(value), value=value)
