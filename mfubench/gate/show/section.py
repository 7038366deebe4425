"""The gate: changes against the tolerance, control drift, false alarms and power."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import partial
from typing import Any

from mfubench.gate.rules.policy import STEP
from mfubench.gate.show.self_test import load_words
from mfubench.gate.show.self_test import sentences as self_test_sentences
from mfubench.gate.show.text import reliability
from mfubench.report.sections.answer import gate_sentence
from mfubench.results.collection import Collection, Document, mapping, number
from mfubench.show.blocks import Block, Cell, Figure, Heading, Prose, Section, Table, drawn_twice
from mfubench.show.figures.forest import Band, ForestRow, forest
from mfubench.show.units import UNKNOWN


def gate_section(collection: Collection) -> Section | None:
    """The newest gate and the newest self-test of each machine."""
    blocks: list[Block] = []
    for index, document in enumerate(collection.newest("gate")):
        blocks += _gate(document, collection.whose(document), index)
    for document in collection.newest("self-test"):
        blocks += _self_test(document, collection.whose(document))
    return Section(key="gate", title="Gate", blocks=blocks) if blocks else None


def _gate(document: Document, whose: str, index: int) -> list[Block]:
    gate = document.body
    cases = [case for case in gate.get("cases") or [] if isinstance(case, dict)]
    blocks: list[Block] = [Prose(text=whose + gate_sentence(document))]
    rows, table_rows = _rows(cases)
    if rows:
        blocks.append(
            _forest(gate, rows, table_rows, f"gate-forest-{index}" if index else "gate-forest")
        )
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
                name="Control: a kernel that is the same on both sides, in the same turns",
                columns=("case", "#change", "#low", "#high"),
                rows=drift,
            )
        )
    with contextlib.suppress(KeyError, TypeError, ValueError):  # not as we write it
        if gate.get("self_test"):
            blocks.append(Prose(text=reliability(gate["self_test"]), kind="note"))
    return blocks


def _rows(cases: list[dict[str, Any]]) -> tuple[list[ForestRow], list[list[Cell]]]:
    rows, table_rows = [], []
    for case in cases:
        for metric in case.get("metrics") or []:
            change, low, high = (number(mapping(metric).get(k)) for k in ("change", "low", "high"))
            if change is None or low is None or high is None:
                continue
            name = _short(str(case.get("id")))
            if metric.get("metric") != STEP:
                name = f"{metric.get('metric')} {name.partition(' ')[2]}"
            said = str(metric.get("verdict"))
            moved = mapping(case.get("bar")).get("name")
            bar = f", {moved} bar" if moved and metric.get("metric") == STEP else ""
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


def _short(case_id: str) -> str:
    """A case's question with its batch and mode, for the margin of a picture; the table has it all.

    >>> _short("train-step/nanogpt-cpu/cpu-float32-b12-eager"), _short("one word")
    ('train-step b12 eager', 'one word')
    """
    question, _, setting = case_id.partition("/")
    return " ".join([question, *setting.rpartition("/")[2].split("-")[2:]])


def _forest(
    gate: Mapping[str, Any], rows: list[ForestRow], table_rows: list[list[Cell]], key: str
) -> Figure:
    bands = [
        Band(name=name, low=1 - size, high=1 + size)
        for name in ("tolerance", "floor")
        if (size := number(mapping(gate.get("limits")).get(name))) and 0 < size < 1
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
    return drawn_twice(key, "Change of each case with its 95 % interval", draw, table=table)


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


def _self_test(document: Document, whose: str) -> list[Block]:
    """How often this machine cries wolf, and how small a change it sees."""
    body = document.body
    if not mapping(body.get("summary")).get("cases"):
        return []
    try:
        alarms, cases = _alarm_rows(body), _case_rows(body)
        told = self_test_sentences(body)
    except (KeyError, TypeError, ValueError):  # a file that is not as we write it
        return []
    planted = [f"#+{share * 100:g} %" for share in _shares(body)]
    return [
        Heading(text=f"{whose}How far this machine can be trusted"),
        Table(
            name=f"Alarms per case, by what was planted{load_words(body)}",
            columns=("rule", "#no change", *planted),
            rows=alarms,
        ),
        Table(
            name="What pairs of processes differ by without a change",
            columns=("case", "#SD of a pair", "#control, SD", "#seen 9 times in 10"),
            rows=cases,
        ),
        *(Prose(text=text, kind="note") for text in told),
    ]


def _shares(body: Mapping[str, Any]) -> list[float]:
    return [float(power["effect"]) for power in body["summary"]["power"]]


def _alarm_rows(body: Mapping[str, Any]) -> list[list[Cell]]:
    summary = body["summary"]
    own = summary["false_alarms"]["drawn_rate"] / len(summary["cases"])
    rates = [own, *(power["rate"] for power in summary["power"])]
    rows = [[Cell(text=f"this gate, {summary['pairs']} pairs"), *map(_share, rates)]]
    for rival in body.get("rivals") or []:
        keys = ("0", *(f"{share:g}" for share in _shares(body)))
        rows.append([Cell(text=rival["name"]), *(_share(rival["rates"][key]) for key in keys)])
    return rows


def _case_rows(body: Mapping[str, Any]) -> list[list[Cell]]:
    return [
        [
            Cell(text=case["id"]),
            *(_share(case[key]) for key in ("pair_sd", "control_sd", "mde")),
        ]
        for case in body["summary"]["cases"]
    ]


def _share(value: float) -> Cell:
    return Cell(text=f"{value * 100:.2f} %", value=value)
