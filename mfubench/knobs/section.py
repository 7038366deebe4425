"""The knobs: what each did here, and when compilation is won back."""

from __future__ import annotations

import statistics
from functools import partial

from mfubench.analysis.effect import WORTH_RATIO, break_even_iters
from mfubench.knobs.text import compile_charges, taken_from, verdict
from mfubench.results.answers import KnobResult
from mfubench.results.collection import Case, Collection
from mfubench.results.outcomes import known
from mfubench.results.record import CaseRecord
from mfubench.show.blocks import Block, Cell, Figure, Prose, Section, Table, drawn_twice, words
from mfubench.show.figures.forest import ForestRow, forest
from mfubench.show.figures.lines import Curve, curves
from mfubench.show.units import format_duration


def knobs_section(collection: Collection) -> Section | None:
    """A forest plot per machine, preset and device, the largest gain first."""
    cases = [c for c in collection.ok("knob") if c.record.knob and c.record.knob.ratio]
    if not cases:
        return None
    groups: dict[str, list[Case]] = {}
    for case in cases:
        name = f"{collection.place(case)}{case.record.preset} on {case.record.device}"
        groups.setdefault(name, []).append(case)
    blocks: list[Block] = []
    for index, (name, found) in enumerate(groups.items()):
        found.sort(key=lambda c: -knob_of(c).effect[0])
        blocks.append(_forest(found, name, f"knobs-{index}"))
        if sources := [c for c in found if taken_from(knob_of(c).bars)]:
            blocks.append(_sources(sources, name))
        for sentence in compile_charges([c.record for c in found]):
            blocks.append(Prose(text=sentence))
    compiled = [c for c in cases if knob_of(c).start_up_s is not None]
    for index, case in enumerate(compiled):
        blocks.append(_paid_back(case, f"break-even-{index}"))
    blocks.append(
        Prose(
            text="Each knob was turned alone against nanoGPT's own loop, both sides taking turns "
            "in processes of their own: × is the median over pairs (for allocators the mean over "
            "processes), the line its 95 % interval. "
            "Hollow: the interval does not tell.",
            kind="note",
        )
    )
    return Section(key="knobs", title="Knobs", blocks=blocks)


def knob_of(case: Case) -> KnobResult:
    """The knob of a case that turned one."""
    return known(case.record.knob)


def _forest(cases: list[Case], name: str, key: str) -> Figure:
    rows = []
    for case in cases:
        knob = knob_of(case)
        ratio, low, high = knob.effect
        row = ForestRow(
            name=knob.name,
            ratio=ratio,
            low=low,
            high=high,
            verdict=verdict(knob),
            is_settled=knob.verdict != "unclear",
        )
        rows.append(row)
    told = "; ".join(
        f"{r.name} ×{r.ratio:.3f} ({r.low:.3f} to {r.high:.3f}), {r.verdict}" for r in rows
    )
    table = Table(
        name=f"Knobs of {name}",
        columns=("knob", "#speed", "#low", "#high", "#pairs", "verdict", "what to type or change"),
        rows=[_row(case) for case in cases],
        is_folded=True,
    )
    draw = partial(forest, rows, title=f"Knobs of {name}", description=told)
    return drawn_twice(key, f"Tokens/s with the knob over without: {name}", draw, table=table)


def _sources(cases: list[Case], name: str) -> Table:
    """Where the knobs that help took their time from."""
    return Table(
        name=f"Where the time came from: {name}",
        columns=("knob", "of an iteration of the same tokens (profiled)"),
        rows=[words(knob.name, taken_from(knob.bars)) for knob in map(knob_of, cases)],
    )


def _row(case: Case) -> list[Cell]:
    knob = knob_of(case)
    ratio, low, high = knob.effect
    return [
        Cell(text=knob.name),
        Cell(text=f"×{ratio:.3f}", value=ratio),
        Cell(text=f"{low:.3f}", value=low),
        Cell(text=f"{high:.3f}", value=high),
        Cell(text=str(knob.pairs), value=knob.pairs),
        Cell(text=verdict(knob)),
        Cell(text=knob.nanogpt),
    ]


def _paid_back(case: Case, key: str) -> Figure:
    """Time saved over iterations by a compiled knob, its start-up included."""
    knob, tokens = knob_of(case), known(case.record.tokens_per_step)
    base_s = tokens * statistics.median_high(knob.base_s_per_token[0])  # one process
    with_s = tokens * statistics.median_high(knob.candidate_s_per_token)
    even, horizon = knob.break_even_iters, known(knob.horizon_iters)
    start_up_s, name = known(knob.start_up_s), knob.name
    _, low, high = knob.effect
    last = max(horizon, min(even * 1.5, 50 * horizon)) if even else horizon
    steps = [last * i / 40 for i in range(41)]
    looks = (
        (name, with_s, "first", True),
        ("95 % interval", base_s / low, "second", True),
        ("", base_s / high, "second", False),
    )
    lines = [
        Curve(
            name=named,
            xs=steps,
            ys=[n * (base_s - s) - start_up_s for n in steps],
            look=look,
            is_named=is_named,
        )
        for named, s, look, is_named in looks
    ]
    told = f"won back after {even:,.0f} iterations" if even else "never won back"
    draw = partial(
        curves,
        lines,
        title=f"Break-even of {name}",
        description=f"{format_duration(start_up_s)} of start-up, {told}.",
        x_name="iterations",
        y_name="time saved, start-up included (derived)",
        show_x=lambda n: f"{n:,.0f}",
        show_y=_signed_duration,
        zero="as fast as without",
        mark_x=(even, told) if even else None,
    )
    return drawn_twice(key, f"When {name} is won back: {told}", draw)


def _signed_duration(seconds: float) -> str:
    """
    >>> _signed_duration(-75.0), _signed_duration(0.0)
    ('−1 min 15 s', '0 s')
    """
    if seconds == 0:
        return "0 s"
    return ("−" if seconds < 0 else "") + format_duration(abs(seconds))


def compile_section(collection: Collection) -> Section | None:
    """Where no compiled knob was measured in pairs: start-up and change from the sweep."""
    if any(knob_of(c).start_up_s is not None for c in collection.ok("knob")):
        return None
    rows = _unpaired_rows(collection)
    if not rows:
        return None
    note = (
        "From the sweep's eager and compiled steps, which were timed minutes apart and not in "
        "pairs: a first look, and a change below 2 % or below the spread of the rounds settles "
        "nothing. For a verdict with an interval, type: pytest benchmarks/test_knobs.py -k compile"
    )
    columns = ("case", "#start-up", "#eager, ms", "#compiled, ms", "#speed", "won back after")
    blocks: list[Block] = [
        Table(name="When compiling pays", columns=columns, rows=rows),
        Prose(text=note, kind="note"),
    ]
    return Section(key="compile", title="When compiling pays", blocks=blocks)


def _unpaired_rows(collection: Collection) -> list[list[Cell]]:
    rows = []
    steps = collection.ok("train-step")
    for case in (c for c in steps if c.record.compile and c.record.compile_s):
        eager = [c for c in steps if not c.record.compile and _same_work(c, case)]
        if not eager:
            continue
        before, after = eager[0].record, case.record
        ratio = known(before.step_s) / known(after.step_s)
        rows.append(
            [
                Cell(text=collection.place(case) + after.setting),
                Cell(text=format_duration(after.compile_s), value=after.compile_s),
                Cell(text=f"{known(before.step_s) * 1e3:.2f}", value=before.step_s),
                Cell(text=f"{known(after.step_s) * 1e3:.2f}", value=after.step_s),
                Cell(text=f"×{ratio:.3f}", value=ratio),
                Cell(text=_won_back(before, after)),
            ]
        )
    return rows


def _same_work(one: Case, other: Case) -> bool:
    return one.run.machine == other.run.machine and one.record.work == other.record.work


def _won_back(before: CaseRecord, after: CaseRecord) -> str:
    """Iterations, or why none can be named."""
    noise = max(WORTH_RATIO, *(i.step_spread_ratio or 0.0 for i in (before, after)))
    before_s, after_s = known(before.step_s), known(after.step_s)
    if abs(before_s / after_s - 1) <= noise:
        return f"not settled: within {noise * 100:.1f} %"
    even = break_even_iters(known(after.compile_s), before_s, after_s)
    return "never" if even is None else f"{even:,.0f} iterations"
