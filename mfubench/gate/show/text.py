"""A gate's verdicts: a table for the terminal, Markdown for a pull request, JUnit for a CI."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping, Sequence

from mfubench.gate.rules.document import CaseVerdict, GateVerdict
from mfubench.gate.rules.policy import (
    IMPROVED,
    INCONCLUSIVE,
    PASS,
    REGRESSED,
    SLOWER,
    Judged,
    Verdict,
    exit_status,
)
from mfubench.show.console import as_text, case_cell, plain_table, wrapped
from mfubench.show.markdown import without_mentions as escaped
from mfubench.show.units import UNKNOWN, format_duration
from mfubench.streams import escaped as escaped_signs

MARKS: Mapping[str, str] = {
    PASS: "✓",
    IMPROVED: "↑",
    SLOWER: "↓",
    REGRESSED: "✗",
    INCONCLUSIVE: "?",
}


def gate_text(gate: GateVerdict, *, color: bool = False) -> str:
    """The whole gate as text."""
    table = plain_table()
    table.add_column("case", overflow="fold")
    table.add_column("metric", no_wrap=True)
    table.add_column("change", justify="right", no_wrap=True)
    table.add_column("interval", justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for case in gate.cases:
        for row in _rows(case):
            table.add_row(*row)
    return "\n\n".join([as_text(table, color=color).rstrip(), *map(wrapped, sentences(gate))])


def _rows(case: CaseVerdict) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    # What did not move and is counted is one word; what is timed or moved has its row.
    for one in case.metrics:
        if one.low is not None or one.verdict != PASS:
            bounds = interval(one.low, one.high)
            name = case_cell(case.id) if not rows else ""
            rows.append((name, one.metric, change(one.change), bounds, one.verdict))
    return rows or [(case_cell(case.id), UNKNOWN, UNKNOWN, UNKNOWN, case.verdict)]


def change(value: float | None) -> str:
    """A change in per cent, signed.

    >>> change(0.0312), change(None)
    ('+3.1 %', '–')
    """
    return UNKNOWN if value is None else f"{value * 100:+.1f} %"


def interval(low: float | None, high: float | None) -> str:
    """An interval in per cent.

    >>> interval(-0.004, 0.021), interval(0.1, None)
    ('-0.4 to +2.1 %', '–')
    """
    return UNKNOWN if low is None or high is None else f"{low * 100:+.1f} to {high * 100:+.1f} %"


def sentences(gate: GateVerdict) -> list[str]:
    """Why a case is not green, what the gate says, and how often it errs here."""
    found = []
    for case in gate.cases:
        if case.verdict in (PASS, IMPROVED) or not (case.reason or case.bar):
            continue  # the table has said it
        text = f"{case.id}: {case.verdict}"
        text += f" ({case.reason})" if case.reason else ""
        if bar := case.bar:
            text += (
                f"; {bar.share * 100:.0f} % of the growth in a profile is in {bar.name} "
                f"({format_duration(bar.grew_s)})"
            )
        found.append(text + ".")
    return [*found, *gate.notes, verdict_sentence(gate), reliability(gate)]


def verdict_sentence(gate: GateVerdict) -> str:
    """The verdict of the whole gate."""
    counts: Counter[str] = Counter(case.verdict for case in gate.cases)
    several = ", ".join(f"{counts[verdict]} {verdict}" for verdict in MARKS if counts[verdict])
    limits = gate.limits
    said = (
        f"{gate.verdict.upper()}: {gate.candidate.label} against {gate.base.label}, "
        f"{several}, in {format_duration(gate.spent_s)}."
    )
    if not gate.looks:
        return f"{said} An earlier version judged this, by its rule of two batches."
    looks = ", ".join(map(str, gate.looks))
    within = "fails" if gate.within_tolerance == "fail" else "passes"
    return (
        f"{said} Looked after {looks} pairs of processes; "
        "the intervals hold for all cases and looks together (95 %). Certainly more than "
        f"{limits.floor * 100:g} % slower is a regression; within {limits.tolerance * 100:g} % it "
        f"is slower, within tolerance, which {within} here; certainly less than that is a pass."
    )


def gate_sentence(gate: GateVerdict) -> str:
    """The verdict in one short sentence, for a page."""
    counts = Counter(case.verdict for case in gate.cases)
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return f"Gate, {gate.candidate.label} against {gate.base.label}: {gate.verdict} ({said})."


SHORT_SELF_TEST, PLANTED_TURNS = 20, 4.0
"""Pairs of the self-test that is offered, and by how much its turns are more than a gate's."""


def reliability(gate: GateVerdict) -> str:
    """What this machine's self-test says of such verdicts; where there is none, how long a short
    one would take, by the pairs of this gate."""
    self_test = gate.self_test
    if gate.preset is None:
        return (
            "How often it errs with this script is not known. On a clean tree mfubench gate --base "
            "HEAD compares the code with itself, and mfubench gate --ledger counts such gates."
        )
    if not self_test:
        measured = max(1, sum(len(pair.cases) for pair in gate.measured))
        cases = max(len(pair.cases) for pair in gate.measured) if gate.measured else 1
        about_s = SHORT_SELF_TEST * PLANTED_TURNS / 2 * cases * gate.spent_s / measured
        return (
            "How often it errs on this machine is not known: mfubench gate --self-test --pairs "
            f"{SHORT_SELF_TEST} measures it, in about {format_duration(about_s)}."
        )
    false = self_test.false_alarms
    powers = ", ".join(
        f"+{power.effect * 100:g} % is seen {power.rate * 100:.0f} times in 100"
        for power in self_test.power
    )
    return (
        f"Here, with {self_test.pairs} pairs (self-test of {self_test.created[:10]}), "
        f"{powers}; {false.count} false alarms in {false.trials} gates without a change "
        f"(at most {false.high * 100:.1f} %, 95 % confidence)."
    )


def gate_markdown(gate: GateVerdict) -> str:
    """For a pull request comment or a job summary."""
    lines = [
        f"### {MARKS[gate.verdict]} mfubench gate: {gate.verdict}",
        "",
        escaped(verdict_sentence(gate)),
        "",
        "| case | metric | change | interval | verdict |",
        "|---|---|---:|---:|---|",
    ]
    for case in gate.cases:
        for name, metric, *cells, verdict in _rows(case):
            mark = f"{MARKS[verdict]} {verdict}"
            lines.append("| " + " | ".join(map(escaped, (name, metric, *cells, mark))) + " |")
    notes = sentences(gate)
    lines += ["", *(f"- {escaped(note)}" for note in [*notes[:-2], notes[-1]])]
    return "\n".join(lines) + "\n"


def gate_junit(gate: GateVerdict) -> str:
    """JUnit XML: a regression is a failure, what is inconclusive an error, so neither is green."""
    verdicts = [case.verdict for case in gate.cases]

    def fails(verdict: Verdict) -> bool:
        return exit_status(verdict, slower_fails=gate.within_tolerance == "fail") == 1

    suite = ET.Element(
        "testsuite",
        name="mfubench gate",
        tests=str(len(verdicts)),
        failures=str(sum(map(fails, verdicts))),
        errors=str(verdicts.count(INCONCLUSIVE)),
        time=f"{gate.spent_s:.1f}",
    )
    for case in gate.cases:
        element = ET.SubElement(suite, "testcase", classname="gate", name=case.id)
        message = case.reason or _summary(case.metrics)
        if fails(case.verdict):
            ET.SubElement(element, "failure", message=message)
        elif case.verdict == INCONCLUSIVE:
            ET.SubElement(element, "error", message=message)
        ET.SubElement(element, "system-out").text = _summary(case.metrics)
    for element in suite.iter():  # XML has no control characters, spelt out or not
        element.attrib.update({k: escaped_signs(v) for k, v in element.attrib.items()})
        element.text = element.text and escaped_signs(element.text)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _summary(metrics: Sequence[Judged]) -> str:
    return "; ".join(
        f"{one.metric} {change(one.change)} ({interval(one.low, one.high)}), {one.verdict}"
        for one in metrics
    )
