"""The gate: changes against the tolerance, control drift, false alarms and power."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from mfubench.analysis.collection import Collection, Document, mapping, number
from mfubench.report.blocks import Block, Cell, Figure, Heading, Prose, Section, Table, drawn_twice
from mfubench.report.figures.forest import Band, ForestRow, forest
from mfubench.report.sections.answer import gate_sentence
from mfubench.report.units import UNKNOWN, format_share


def gate_section(collection: Collection) -> Section | None:
    """The newest gate, and the newest self-test."""
    blocks: list[Block] = []
    for document in collection.documents.get("gate", [])[:1]:
        blocks += _gate(document)
    for document in collection.documents.get("self-test", [])[:1]:
        blocks += _self_test(document.body, document)
    return Section(key="gate", title="Gate", blocks=blocks) if blocks else None


def _gate(document: Document) -> list[Block]:
    gate = document.body
    cases = [case for case in gate.get("cases") or [] if isinstance(case, dict)]
    blocks: list[Block] = [Prose(text=gate_sentence(document))]
    rows, table_rows = _rows(cases)
    if rows:
        blocks.append(_forest(gate, rows, table_rows))
    for case in cases:
        if case.get("reason"):
            blocks.append(Prose(text=f"{case.get('id')}: {case['verdict']}: {case['reason']}"))
    drift = [
        _control(case)
        for case in cases
        if number(mapping(case.get("control")).get("change")) is not None
    ]
    if drift:
        blocks.append(
            Table(
                name="Control drift: the base against itself in the same session",
                columns=("case", "#change", "#low", "#high"),
                rows=drift,
            )
        )
    blocks += _self_test(mapping(gate.get("self_test")), document)
    return blocks


def _rows(cases: list[dict[str, Any]]) -> tuple[list[ForestRow], list[list[Cell]]]:
    rows, table_rows = [], []
    kinds = {str(mapping(m).get("metric")) for c in cases for m in c.get("metrics") or []}
    for case in cases:
        for metric in case.get("metrics") or []:
            change, low, high = (number(mapping(metric).get(k)) for k in ("change", "low", "high"))
            if change is None or low is None or high is None:
                continue
            name = str(case.get("id")).rpartition("/")[2]
            name += f" {metric.get('metric', '')}" if len(kinds) > 1 else ""
            said = str(metric.get("verdict"))
            bar = f", {case['bar']} bar" if case.get("bar") else ""
            rows.append(
                ForestRow(
                    name=name,
                    ratio=1 + change,
                    low=1 + low,
                    high=1 + high,
                    verdict=said + bar,
                    is_settled=said not in ("inconclusive", "could not run"),
                )
            )
            table_rows.append(
                [
                    Cell(text=str(case.get("id"))),
                    Cell(text=str(metric.get("metric", ""))),
                    *_changes(change, low, high),
                    _number(metric.get("pairs")),
                    Cell(text=said + bar),
                ]
            )
    return rows, table_rows


def _forest(gate: Mapping[str, Any], rows: list[ForestRow], table_rows: list[list[Cell]]) -> Figure:
    bands = [
        Band(name=name, low=1 - size, high=1 + size)
        for name in ("tolerance", "floor")
        if (size := number(gate.get(name))) and 0 < size < 1
    ]
    told = "; ".join(f"{row.name} {(row.ratio - 1) * 100:+.2f} %, {row.verdict}" for row in rows)
    table = Table(
        name="Changes",
        columns=("case", "metric", "#change", "#low", "#high", "#pairs", "verdict"),
        rows=table_rows,
        is_folded=True,
    )
    draw = partial(
        forest, rows, title="Changes by the gate", description=told, bands=bands, as_change=True
    )
    return drawn_twice(
        "gate-forest", "Change of each case with its 95 % interval", draw, table=table
    )


def _control(case: Mapping[str, Any]) -> list[Cell]:
    control = mapping(case.get("control"))
    values = [number(control.get(key)) for key in ("change", "low", "high")]
    return [Cell(text=str(case.get("id"))), *_changes(*values)]


def _changes(*values: float | None) -> list[Cell]:
    return [
        Cell(text=UNKNOWN if v is None else f"{v * 100:+.2f} %".replace("-", "−"), value=v)
        for v in values
    ]


def _number(value: object) -> Cell:
    found = number(value)
    return Cell(text=UNKNOWN if found is None else f"{found:g}", value=found)


def _self_test(body: Mapping[str, Any], document: Document) -> list[Block]:
    """How often this machine cries wolf, and how small a change it sees."""
    if not body:
        return []
    blocks: list[Block] = [Heading(text="How far this machine can be trusted")]
    measured = [case for case in body.get("cases") or [body] if isinstance(case, dict)]
    rows = [_trust_row(str(case.get("id") or document.machine), case) for case in measured]
    rows += [
        _trust_row(f"rival: {rival.get('name')}", rival)
        for rival in body.get("rivals") or []
        if isinstance(rival, dict)
    ]
    if loaded := mapping(body.get("loaded")):
        for case in loaded.get("cases") or [loaded]:
            rows.append(_trust_row(f"under a planted load: {case.get('id', '')}", case))
    columns = ("case", "#false alarms", "#at most", "power", "#smallest change seen")
    blocks.append(Table(name="False alarms and power", columns=columns, rows=rows))
    blocks.append(
        Prose(
            text="False alarms: verdicts of a change where nothing was changed. Power: how often a "
            "planted slowdown was found.",
            kind="note",
        )
    )
    return blocks


def _trust_row(name: str, case: Mapping[str, Any]) -> list[Cell]:
    alarms = mapping(case.get("false_alarms") or case.get("false_alarm"))
    count, trials, upper = (number(alarms.get(k)) for k in ("count", "trials", "upper"))
    planted = case.get("power")
    power = []
    for row in planted if isinstance(planted, list) else [planted]:
        effect, found, of = (number(mapping(row).get(k)) for k in ("effect", "count", "trials"))
        if effect is not None and found is not None and of:
            power.append(f"{effect * 100:g} %: {found:.0f} of {of:.0f}")
    mde = number(case.get("mde"))
    return [
        Cell(text=name),
        Cell(
            text=UNKNOWN if count is None or trials is None else f"{count:.0f} of {trials:.0f}",
            value=count / trials if count is not None and trials else None,
        ),
        Cell(text=format_share(upper, digits=2), value=upper),
        Cell(text=", ".join(power) or UNKNOWN),
        Cell(text=format_share(mde, digits=2), value=mde),
    ]
