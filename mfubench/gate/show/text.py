"""A gate's verdicts: a table for the terminal, Markdown for a pull request, JUnit for a CI."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

from mfubench.show.console import as_text, plain_table, wrapped
from mfubench.show.units import UNKNOWN, format_duration

Data = Mapping[str, Any]
MARKS = {"pass": "✓", "improved": "↑", "regressed": "✗", "inconclusive": "?"}


def gate_text(gate: Data, *, color: bool = False) -> str:
    """The whole gate as text."""
    table = plain_table()
    table.add_column("case", overflow="fold")
    table.add_column("metric", no_wrap=True)
    table.add_column("change", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for case in gate["cases"]:
        for row in _rows(case):
            table.add_row(*row)
    return "\n\n".join([as_text(table, color=color).rstrip(), *map(wrapped, sentences(gate))])


def _rows(case: Data) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    # What did not move and is counted is one word; what is timed or moved has its row.
    for metric in case["metrics"]:
        if metric["low"] is None and metric["verdict"] == "pass":
            continue
        name = case["id"] if not rows else ""
        cells = (name, metric["metric"], change(metric), interval(metric), metric["verdict"])
        rows.append(tuple(map(str, cells)))
    return rows or [(case["id"], UNKNOWN, UNKNOWN, UNKNOWN, case["verdict"])]


def change(metric: Data) -> str:
    """A change in per cent, signed.

    >>> change({"change": 0.0312}), change({"change": None})
    ('+3.1 %', '–')
    """
    return UNKNOWN if metric["change"] is None else f"{metric['change'] * 100:+.1f} %"


def interval(metric: Data) -> str:
    """An interval in per cent."""
    if metric["low"] is None or metric["high"] is None:
        return UNKNOWN
    return f"{metric['low'] * 100:+.1f} to {metric['high'] * 100:+.1f} %"


def sentences(gate: Data) -> list[str]:
    """Why a case is not green, what the gate says, and how often it errs here."""
    found = []
    for case in gate["cases"]:
        if case["verdict"] in ("pass", "improved") or not (case["reason"] or case["bar"]):
            continue  # the table has said it
        text = f"{case['id']}: {case['verdict']}"
        text += f" ({case['reason']})" if case["reason"] else ""
        if bar := case["bar"]:
            text += (
                f"; {bar['share'] * 100:.0f} % of the growth in a profile is in {bar['name']} "
                f"({format_duration(bar['grew_s'])})"
            )
        found.append(text + ".")
    found.append(verdict_sentence(gate))
    found.append(reliability(gate.get("self_test")))
    return found


def verdict_sentence(gate: Data) -> str:
    """The verdict of the whole gate."""
    counts = {v: sum(c["verdict"] == v for c in gate["cases"]) for v in MARKS}
    several = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    limits = gate["limits"]
    return (
        f"{gate['verdict'].upper()}: {gate['candidate']['label']} against {gate['base']['label']}, "
        f"{several}, in {format_duration(gate['spent_s'])}. {gate['pairs']} pairs of processes; a "
        f"regression is a slow-down of certainly more than {limits['floor'] * 100:g} %, twice; a "
        f"pass is certainly less than {limits['tolerance'] * 100:g} %."
    )


def reliability(self_test: Data | None) -> str:
    """What this machine's self-test says of such verdicts."""
    if not self_test:
        return (
            "How often it errs on this machine is not known: mfubench gate --self-test measures it."
        )
    false = self_test["false_alarms"]
    powers = ", ".join(
        f"+{p['effect'] * 100:g} % is seen {p['rate'] * 100:.0f} times in 100"
        for p in self_test["power"]
    )
    return (
        f"Here, with {self_test['pairs']} pairs (self-test of {self_test['created'][:10]}), "
        f"{powers}; {false['count']} false alarms in {false['trials']} gates without a change "
        f"(at most {false['high'] * 100:.1f} %, 95 % confidence)."
    )


def gate_markdown(gate: Data) -> str:
    """For a pull request comment or a job summary."""
    lines = [
        f"### {MARKS[gate['verdict']]} mfubench gate: {gate['verdict']}",
        "",
        _escaped(verdict_sentence(gate)),
        "",
        "| case | metric | change | 95 % interval | verdict |",
        "|---|---|---:|---:|---|",
    ]
    for case in gate["cases"]:
        for name, metric, *cells, verdict in _rows(case):
            mark = f"{MARKS.get(verdict, '')} {verdict}".strip()
            lines.append("| " + " | ".join(map(_escaped, (name, metric, *cells, mark))) + " |")
    notes = sentences(gate)
    lines += ["", *(f"- {_escaped(note)}" for note in [*notes[:-2], notes[-1]])]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Text that Markdown and HTML show as it is."""
    for character, shown in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("\n", " ")):
        text = text.replace(character, shown)
    return text


def gate_junit(gate: Data) -> str:
    """JUnit XML: a regression is a failure, what is inconclusive an error, so neither is green."""
    cases = gate["cases"]
    suite = ET.Element(
        "testsuite",
        name="mfubench gate",
        tests=str(len(cases)),
        failures=str(sum(c["verdict"] == "regressed" for c in cases)),
        errors=str(sum(c["verdict"] == "inconclusive" for c in cases)),
        time=f"{gate['spent_s']:.1f}",
    )
    for case in cases:
        element = ET.SubElement(suite, "testcase", classname="gate", name=case["id"])
        message = case["reason"] or _summary(case["metrics"])
        if case["verdict"] == "regressed":
            ET.SubElement(element, "failure", message=message)
        elif case["verdict"] == "inconclusive":
            ET.SubElement(element, "error", message=message)
        ET.SubElement(element, "system-out").text = _summary(case["metrics"])
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _summary(metrics: Sequence[Data]) -> str:
    return "; ".join(f"{m['metric']} {change(m)} ({interval(m)}), {m['verdict']}" for m in metrics)
