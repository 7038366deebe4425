"""The knobs: what each did here, and when compilation is won back."""

from __future__ import annotations

import statistics
from functools import partial

from mfubench.analysis.collection import Case, Collection
from mfubench.report.blocks import Block, Cell, Figure, Heading, Prose, Section, Table, drawn_twice
from mfubench.report.figures.forest import ForestRow, forest
from mfubench.report.figures.lines import Curve, curves
from mfubench.report.knobs import compile_charges, verdict
from mfubench.report.sections.common import ok_cases, place
from mfubench.report.units import format_duration


def knobs_section(collection: Collection) -> Section | None:
    """A forest plot per machine, preset and device, the largest gain first."""
    cases = [c for c in ok_cases(collection, "knob") if "ratio" in c.info["knob"]]
    if not cases:
        return None
    groups: dict[str, list[Case]] = {}
    for case in cases:
        name = f"{place(collection, case)}{case.info['preset']} on {case.info['device']}"
        groups.setdefault(name, []).append(case)
    blocks: list[Block] = []
    for index, (name, found) in enumerate(groups.items()):
        found.sort(key=lambda c: -c.info["knob"]["ratio"])
        blocks.append(_forest(found, name, f"knobs-{index}"))
        for sentence in compile_charges([c.info for c in found]):
            blocks.append(Prose(text=sentence))
    compiled = [c for c in cases if c.info["knob"].get("start_up_s") is not None]
    for index, case in enumerate(compiled):
        blocks.append(_paid_back(case, f"break-even-{index}"))
    blocks.append(
        Prose(
            text="Each knob was turned alone against nanoGPT's own loop, both sides taking turns in "
            "processes of their own: × is the median over pairs, the line its 95 % interval. Hollow: "
            "the interval does not tell.",
            kind="note",
        )
    )
    return Section(key="knobs", title="Knobs", blocks=blocks)


def _forest(cases: list[Case], name: str, key: str) -> Figure:
    rows = []
    for case in cases:
        knob = case.info["knob"]
        row = ForestRow(
            name=knob["name"],
            ratio=knob["ratio"],
            low=knob["low"],
            high=knob["high"],
            verdict=verdict(knob),
            is_settled=knob["verdict"] != "unclear",
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


def _row(case: Case) -> list[Cell]:
    knob = case.info["knob"]
    return [
        Cell(text=knob["name"]),
        Cell(text=f"×{knob['ratio']:.3f}", value=knob["ratio"]),
        Cell(text=f"{knob['low']:.3f}", value=knob["low"]),
        Cell(text=f"{knob['high']:.3f}", value=knob["high"]),
        Cell(text=str(knob["pairs"]), value=knob["pairs"]),
        Cell(text=verdict(knob)),
        Cell(text=knob["nanogpt"]),
    ]


def _paid_back(case: Case, key: str) -> Figure:
    """Time over iterations with and without a compiled knob, its start-up included."""
    knob, tokens = case.info["knob"], case.info["tokens_per_step"]
    base_s = tokens * statistics.median_high(knob["base_s_per_token"])
    with_s = tokens * statistics.median_high(knob["candidate_s_per_token"])
    return _break_even(
        key,
        str(knob["name"]),
        base_s=base_s,
        with_s=with_s,
        start_up_s=knob["start_up_s"],
        even=knob["break_even_iters"],
        horizon=knob["horizon_iters"],
    )


def _break_even(
    key: str,
    name: str,
    *,
    base_s: float,
    with_s: float,
    start_up_s: float,
    even: float | None,
    horizon: int,
) -> Figure:
    last = max(horizon, min(even * 1.5, 50 * horizon)) if even else horizon
    steps = [last * i / 40 for i in range(41)]
    lines = [
        Curve(
            name=f"{name}, start-up included",
            xs=steps,
            ys=[start_up_s + n * with_s for n in steps],
        ),
        Curve(name="without", xs=steps, ys=[n * base_s for n in steps], look="second"),
    ]
    told = f"won back after {even:,.0f} iterations" if even else "never won back"
    draw = partial(
        curves,
        lines,
        title=f"Break-even of {name}",
        description=f"{format_duration(start_up_s)} of start-up, {told}.",
        x_name="iterations",
        y_name="time so far, derived from the measured steps",
        show_x=lambda n: f"{n:,.0f}",
        show_y=format_duration,
        from_zero=True,
        mark_x=(even, told) if even else None,
    )
    return drawn_twice(key, f"When {name} is won back: {told}", draw)


HORIZON_ITERS = 2000


def _break_evens(collection: Collection) -> list[Block]:
    """The break-even from the sweep's own eager and compiled steps: timed apart, so a first look."""
    blocks: list[Block] = []
    steps = ok_cases(collection, "train-step")
    for index, case in enumerate(c for c in steps if c.info["compile"] and c.info["compile_s"]):
        keys = ("preset", "device", "dtype", "batch_size")
        eager = [
            c
            for c in steps
            if not c.info["compile"]
            and c.run.machine == case.run.machine
            and all(c.info[k] == case.info[k] for k in keys)
        ]
        if not eager:
            continue
        base_s, with_s = eager[0].info["step_s"], case.info["step_s"]
        saved_s = base_s - with_s
        even = case.info["compile_s"] / saved_s if saved_s > 0 else None
        name = f"compiling {str(case.info['case_id']).rsplit('/', 1)[-1]}"
        blocks.append(
            _break_even(
                f"compile-{index}",
                place(collection, case) + name,
                base_s=base_s,
                with_s=with_s,
                start_up_s=case.info["compile_s"],
                even=even,
                horizon=HORIZON_ITERS,
            )
        )
    return blocks


def compile_section(collection: Collection) -> Section | None:
    """Where no knob was measured: the break-even from the sweep."""
    if any(c.info["knob"].get("start_up_s") is not None for c in ok_cases(collection, "knob")):
        return None
    blocks = _break_evens(collection)
    if not blocks:
        return None
    note = (
        "From the sweep's eager and compiled steps, which were timed minutes apart and not in pairs: "
        "a first look. For a verdict with an interval, type: pytest benchmarks/test_knobs.py -k compile"
    )
    return Section(
        key="compile",
        title="When compiling pays",
        blocks=[Heading(text="Start-up against time saved"), *blocks, Prose(text=note, kind="note")],
    )
