"""The gate: changes against the tolerance, control drift, false alarms and power."""

from __future__ import annotations

from functools import partial

from mfubench.gate.rules.document import CaseVerdict, GateVerdict, SelfTest
from mfubench.gate.rules.policy import IMPROVED, PASS, REGRESSED, SLOWER, STEP
from mfubench.gate.show.self_test import (
    LOAD_WORDS,
    alarms_per_case,
    planted_shares,
    trust_sentence,
)
from mfubench.gate.show.self_test import sentences as self_test_sentences
from mfubench.gate.show.text import gate_sentence, reliability
from mfubench.results.collection import Collection
from mfubench.show.blocks import (
    Block,
    Cell,
    Figure,
    Fold,
    Prose,
    Section,
    Table,
    Verdict,
    Verdicts,
    drawn_twice,
)
from mfubench.show.figures import Look
from mfubench.show.figures.forest import Band, ForestRow, forest
from mfubench.show.units import UNKNOWN


def gate_section(collection: Collection) -> Section | None:
    """The newest gate and the newest self-test of each machine."""
    blocks: list[Block] = []
    tests = collection.newest("self-test")
    for index, document in enumerate(collection.newest("gate")):
        key = f"gate-forest-{index}" if index else "gate-forest"
        is_tested = document.machine in {test.machine for test in tests}
        gate = document.read(GateVerdict)
        blocks += _gate(gate, collection.whose(document), key, is_tested=is_tested)
    for document in tests:
        blocks += _self_test(document.read(SelfTest), collection.whose(document))
    return Section(key="gate", title="Gate", blocks=blocks) if blocks else None


def _gate(gate: GateVerdict, whose: str, key: str, *, is_tested: bool) -> list[Block]:
    look = GATE_LOOKS.get(gate.verdict, "unclear")
    blocks: list[Block] = [
        Verdicts(lines=[Verdict(text=whose + gate_sentence(gate), look=look)]),
    ]
    rows, table_rows = _rows(gate.cases)
    if rows:
        blocks.append(_forest(gate, rows, table_rows, key))
    for case in gate.cases:
        if case.reason:
            blocks.append(Prose(text=f"{_short(case.id)}: {case.verdict}: {case.reason}"))
    if gate.self_test is not None and not is_tested:
        blocks.append(Prose(text=reliability(gate), kind="note"))
    drift = [
        [Cell(text=_short(case.id)), *_changes(control.change, control.low, control.high)]
        for case in gate.cases
        if (control := case.control) is not None and control.change is not None
    ]
    if drift:
        still = Table(
            name="A kernel that is the same on both sides, in the same turns",
            columns=("case", "#change", "#low", "#high"),
            rows=drift,
        )
        blocks.append(Fold(summary="Control: did the machine itself drift?", blocks=[still]))
    return blocks


GATE_LOOKS: dict[str, Look] = {PASS: "same", IMPROVED: "helps", REGRESSED: "hurts", SLOWER: "warns"}
"""A pass is certain, an inconclusive case is hollow."""


def _rows(cases: list[CaseVerdict]) -> tuple[list[ForestRow], list[list[Cell]]]:
    rows, table_rows = [], []
    for case in cases:
        for one in case.metrics:
            if one.change is None or one.low is None or one.high is None:
                continue
            name, said = _short(case.id), str(one.verdict)
            if one.metric != STEP:
                name = f"{one.metric} {name.partition(' ')[2]}"
            elif case.bar is not None:
                said += f", {case.bar.name} bar"
            rows.append(
                ForestRow(
                    name=name,
                    ratio=1 + one.change,
                    low=1 + one.low,
                    high=1 + one.high,
                    verdict=said,
                    look=GATE_LOOKS.get(one.verdict, "unclear"),
                    said="" if one.verdict == PASS else said,
                )
            )
            table_rows.append(
                [
                    Cell(text=case.id),
                    Cell(text=one.metric),
                    *_changes(one.change, one.low, one.high),
                    Cell(text=str(one.pairs), value=float(one.pairs)),
                    Cell(text=said),
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
    gate: GateVerdict, rows: list[ForestRow], table_rows: list[list[Cell]], key: str
) -> Figure:
    limits = {"tolerance": gate.limits.tolerance, "floor": gate.limits.floor}
    bands = [
        Band(name=name, low=1 - size, high=1 + size)
        for name, size in limits.items()
        if 0 < size < 1
    ]
    told = "; ".join(f"{row.name} {(row.ratio - 1) * 100:+.2f} %, {row.verdict}" for row in rows)
    table = Table(
        name="Changes",
        columns=("case", "metric", "#change", "#low", "#high", "#pairs", "verdict"),
        rows=table_rows,
        is_folded=True,
    )
    draw = partial(forest, rows, title="Changes by the gate", description=told, bands=bands)
    caption = "Change of each case with its interval: ● pass, ▲ faster, ▼ slower, ○ too noisy"
    return drawn_twice(key, caption, draw, table=table)


def _changes(*values: float | None) -> list[Cell]:
    return [
        Cell(text=UNKNOWN if v is None else f"{v * 100:+.2f} %".replace("-", "−"), value=v)
        for v in values
    ]


def _self_test(body: SelfTest, whose: str) -> list[Block]:
    """How often this machine cries wolf, in one sentence; how small a change it sees, folded."""
    power, shares = body.summary.power, ("0", *planted_shares(body))
    own = (alarms_per_case(body), *(one.rate for one in power))
    alarms = [
        _shares(f"this gate, {body.summary.pairs} pairs", *own),
        *(_shares(rival.name, *(rival.rates[s] for s in shares)) for rival in body.rivals),
    ]
    details: list[Block] = [
        Table(
            name=f"Alarms per case, by what was planted{LOAD_WORDS[body.load]}",
            columns=("rule", "#no change", *(f"#+{one.effect * 100:g} %" for one in power)),
            rows=alarms,
        ),
        Table(
            name="What pairs of processes differ by without a change",
            columns=("case", "#SD of a pair", "#control, SD", "#seen 9 times in 10"),
            rows=[
                _shares(_short(c.id), c.pair_sd, c.control_sd, c.mde) for c in body.summary.cases
            ],
        ),
        *(Prose(text=text, kind="note") for text in self_test_sentences(body)),
    ]
    return [
        Prose(text=whose + trust_sentence(body)),
        Fold(summary="The self-test of the gate in full", blocks=details),
    ]


def _shares(name: str, *values: float) -> list[Cell]:
    return [Cell(text=name), *(Cell(text=f"{v * 100:.2f} %", value=v) for v in values)]
