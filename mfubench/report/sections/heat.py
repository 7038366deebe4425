"""The heat maps: tokens/s and ceiling utilisation over device, dtype, batch size and compile."""

from __future__ import annotations

from functools import partial

from mfubench.results.collection import Case, Collection, number
from mfubench.show.blocks import Block, Cell, Prose, Section, Table, drawn_twice, words
from mfubench.show.figures.heatmap import HeatCell, heatmap
from mfubench.show.units import format_share, format_si

OUTCOMES = {
    "out_of_memory": "no memory",
    "compile_failed": "no compile",
    "unsupported": "unsupported",
    "unavailable": "absent",
}


def heat_section(collection: Collection) -> Section | None:
    """Two maps of the training steps; hatched where there is a reason instead of a number."""
    cases = [c for c in collection.cases if c.info["question"] == "train-step" and _sized(c)]
    if not cases:
        return None
    blocks: list[Block] = []
    quantities = (
        ("tokens", "tokens_per_s", "Tokens per second"),
        ("utilisation", "ceiling_utilisation", "Share of the measured ceiling"),
    )
    for key, field, title in quantities:
        if not any(number(case.info[field]) for case in cases):
            continue
        rows, columns, cells = _grid(collection, cases, field)
        told = "; ".join(
            f"{r.replace(chr(10), ' ')}, {c}: {cell.text}" for (r, c), cell in cells.items()
        )
        draw = partial(heatmap, rows, columns, cells, title=title, description=told)
        blocks.append(drawn_twice(f"heat-{key}", title, draw))
    missing = [
        [Cell(text=c.info["case_id"], note=c.run.machine), *words(c.info["outcome"], _reason(c))]
        for c in cases
        if c.info["outcome"] != "ok"
    ]
    if missing:
        blocks.append(
            Table(name="Without a number", columns=("case", "outcome", "reason"), rows=missing)
        )
    blocks.append(
        Prose(
            text="Darker is more, against the largest value of the map. A hatched cell was asked "
            "for and has no number; an empty one was not asked for.",
            kind="note",
        )
    )
    return Section(key="heat", title="Batch, dtype, compile", blocks=blocks)


def _sized(case: Case) -> bool:
    return number(case.info.get("batch_size")) is not None


def _reason(case: Case) -> str:
    return str(case.info["outcome_reason"] or "no reason given")


def _row_name(collection: Collection, case: Case) -> str:
    info = case.info
    how = "compiled" if info["compile"] else "eager"
    name = f"{info['device']} {info['dtype']} {how}"
    if len({c.info["preset"] for c in collection.cases if c.info["preset"]}) > 1:
        name = f"{info['preset']} {name}"
    return f"{name}\n{case.run.machine}" if len(collection.machines) > 1 else name


def _grid(
    collection: Collection, cases: list[Case], field: str
) -> tuple[list[str], list[str], dict[tuple[str, str], HeatCell]]:
    sizes = sorted({int(case.info["batch_size"]) for case in cases})
    rows = list(dict.fromkeys(_row_name(collection, case) for case in cases))
    most = max(number(case.info[field]) or 0.0 for case in cases) or 1.0
    cells = {}
    for case in cases:
        info, value = case.info, number(case.info[field])
        if info["outcome"] != "ok":
            text, share = OUTCOMES.get(info["outcome"], str(info["outcome"])), None
            tip = f"{info['case_id']}: {info['outcome']}: {_reason(case)}"
        else:
            text = _text(field, value)
            share = None if value is None else value / most
            tip = f"{info['case_id']}: {text}"
        cells[_row_name(collection, case), f"batch {info['batch_size']}"] = HeatCell(
            text=text, share=share, tip=tip
        )
    return rows, [f"batch {size}" for size in sizes], cells


def _text(field: str, value: float | None) -> str:
    if field == "tokens_per_s":
        return format_si(value, "").strip()
    return format_share(value)
