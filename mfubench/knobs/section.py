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
    words,
)
from mfubench.show.case_name import plain_case
from mfubench.show.figures import Look
from mfubench.show.figures.forest import ForestRow, change, forest
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
        blocks += _group(found, name, f"knobs-{index}", is_alone=len(groups) == 1)
    blocks.append(
        Prose(
            text="Each setting was changed alone against nanoGPT's own loop. Both sides took "
            "turns, in processes of their own. The mark is the median over pairs (for allocators "
            "the mean over processes), the line its 95 % interval.",
            kind="note",
        )
    )
    return Section(key="knobs", title="Settings", blocks=blocks)


CAPTION = "Speed-up per setting: ▲ helps, ▼ hurts"
LOOKS: dict[str, Look] = {"helps": "helps", "hurts": "hurts", "no difference": "same"}


def _look(knob: KnobResult) -> Look:
    return LOOKS.get(str(knob.verdict), "unclear")


def _group(found: list[Case], name: str, key: str, *, is_alone: bool) -> list[Block]:
    """What is settled as a picture; the rest folded, and when compiling pays."""
    settled = [c for c in found if _look(knob_of(c)) in ("helps", "hurts")]
    rest = [c for c in found if c not in settled]
    blocks: list[Block] = [] if is_alone else [Heading(text=name)]
    if settled:
        blocks.append(_forest(settled, name, key))
    if rest:
        said = f"{len(rest)} {'more ' if settled else ''}settings make no clear difference"
        if len(rest) == 1:
            said = f"1 {'more ' if settled else ''}setting makes no clear difference"
        blocks.append(Fold(summary=said, blocks=[_numbers(rest, name)]))
    blocks += [Prose(text=sentence) for sentence in compile_charges([c.record for c in found])]
    # A picture of when something pays is drawn only where it is certain to help.
    paying = [c for c in settled if knob_of(c).start_up_s is not None and _helps(c)]
    blocks += [_paid_back(case, f"{key}-pays-{i}") for i, case in enumerate(paying)]
    if sources := [c for c in found if taken_from(knob_of(c).bars)]:
        blocks.append(Fold(summary="Where the time came from", blocks=[_sources(sources, name)]))
    return blocks


def _helps(case: Case) -> bool:
    return _look(knob_of(case)) == "helps"


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
            look=_look(knob),
            said=verdict(knob).partition(" ")[2] if knob.verdict == "helps" else "",
        )
        rows.append(row)
    told = "; ".join(
        f"{r.name} {change(r.ratio)} ({change(r.low)} to {change(r.high)}), {r.verdict}"
        for r in rows
    )
    draw = partial(forest, rows, title=f"Settings of {name}", description=told)
    return drawn_twice(key, CAPTION, draw, table=_numbers(cases, name, is_folded=True))


def _numbers(cases: list[Case], name: str, *, is_folded: bool = False) -> Table:
    return Table(
        name=f"Settings of {name}",
        columns=(
            "setting",
            "#speed",
            "#low",
            "#high",
            "#pairs",
            "verdict",
            "what to type or change",
        ),
        rows=[_row(case) for case in cases],
        is_folded=is_folded,
    )


def _sources(cases: list[Case], name: str) -> Table:
    """Where the knobs that help took their time from."""
    return Table(
        name=f"Where the time came from: {name}",
        columns=("setting", "in an iteration of the same tokens, without → with it (profiled)"),
        rows=[words(knob.name, taken_from(knob.bars)) for knob in map(knob_of, cases)],
    )


def _row(case: Case) -> list[Cell]:
    knob = knob_of(case)
    ratio, low, high = knob.effect
    return [
        Cell(text=knob.name),
        Cell(text=change(ratio), value=ratio),
        Cell(text=change(low), value=low),
        Cell(text=change(high), value=high),
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
    told = f"pays from {even:,.0f} iterations on" if even else "never pays"
    draw = partial(
        curves,
        lines,
        title=f"Time saved by {name}",
        description=f"{format_duration(start_up_s)} of start-up, {told}.",
        x_name="iterations",
        y_name="time saved, start-up included (derived)",
        show_x=lambda n: f"{n:,.0f}",
        show_y=_signed_duration,
        zero="as fast as without",
        mark_x=(even, told) if even else None,
    )
    return drawn_twice(key, f"Time saved by {name}: it {told}", draw)


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
        "A first look only: the eager and the compiled step were timed minutes apart. For a "
        "verdict with an interval, type: pytest benchmarks/test_knobs.py -k compile"
    )
    columns = ("case", "#start-up", "#eager, ms", "#compiled, ms", "#speed", "pays after")
    blocks: list[Block] = [
        Table(name="When compiling pays", columns=columns, rows=rows, is_cards=True),
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
                Cell(text=collection.place(case) + plain_case(after)),
                Cell(text=format_duration(after.compile_s), value=after.compile_s),
                Cell(text=f"{known(before.step_s) * 1e3:.2f}", value=before.step_s),
                Cell(text=f"{known(after.step_s) * 1e3:.2f}", value=after.step_s),
                Cell(text=change(ratio), value=ratio),
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
