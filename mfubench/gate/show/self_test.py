"""What a self-test of the gate found, beside what others would have said of the same times."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from mfubench.gate.rules.document import Load, SelfTest
from mfubench.show.console import as_text, case_cell, plain_table, wrapped
from mfubench.show.units import format_duration


def self_test_text(body: SelfTest, *, color: bool = False) -> str:
    """The figures of every case, of the whole gate, and of its rivals."""
    parts = [
        as_text(table, color=color).rstrip() for table in (cases_table(body), rules_table(body))
    ]
    return "\n\n".join([*parts, *map(wrapped, sentences(body))])


def cases_table(body: SelfTest) -> Table:
    """How much pairs of processes differ without a change, and what can be seen through it."""
    table = plain_table()
    table.add_column("case", overflow="fold")
    for name in ("pair SD", "robust", "control SD", "seen 9 in 10"):
        table.add_column(name, justify="right", no_wrap=True)
    for case in body.summary.cases:
        spreads = (case.pair_sd, case.pair_robust_sd, case.control_sd)
        cells = [*(f"{sd * 100:.2f} %" for sd in spreads), f"+{case.mde * 100:.1f} %"]
        table.add_row(case_cell(case.id), *cells)
    return table


def rules_table(body: SelfTest) -> Table:
    """How often each rule alarms, by what was planted."""
    table = plain_table()
    table.add_column("rule, alarms per case", overflow="fold")
    shares = planted_shares(body)
    for name in ("no change", *(f"+{float(share) * 100:g} %" for share in shares)):
        table.add_column(name, justify="right", no_wrap=True)
    own = [alarms_per_case(body) * 100, *(power.rate * 100 for power in body.summary.power)]
    table.add_row(
        f"this gate, {body.summary.pairs} pairs",
        f"{own[0]:.2f} %",
        *(f"{rate:.1f} %" for rate in own[1:]),
    )
    for rival in body.rivals:
        table.add_row(rival.name, *(f"{rival.rates[s] * 100:.1f} %" for s in ("0", *shares)))
    return table


def planted_shares(body: SelfTest) -> list[str]:
    """The planted shares of extra work, as the rivals name them."""
    return [f"{power.effect:g}" for power in body.summary.power]


def alarms_per_case(body: SelfTest) -> float:
    """False alarms of drawn gates over their cases."""
    return body.summary.false_alarms.drawn_rate / max(1, len(body.summary.cases))


LOAD_WORDS: Mapping[Load, str] = {
    "none": "",
    "both": ", beside a planted load",
    "candidate": ", with a load planted beside the candidate's turns alone",
}
"""What was planted beside the pairs, with a comma before it."""


def trust_sentence(body: SelfTest) -> str:
    """How far the gate can be trusted on its machine, in short."""
    summary = body.summary
    false = summary.false_alarms
    caught = ", ".join(
        f"{power.effect * 100:g} % slow-downs in {power.rate * 100:.0f} %"
        for power in summary.power
    )
    alarms = (
        f"Without a change{LOAD_WORDS[body.load]}, {false.count} of {false.trials} whole gates "
        f"gave a false alarm (so at most {false.high * 100:.0f} % do), and "
        f"{false.drawn_rate * 100:.1f} % of {false.drawn_gates} simulated ones."
    )
    if body.load == "candidate" or not caught:
        return alarms
    return f"The gate caught {caught} of simulated gates. {alarms}"


def sentences(body: SelfTest) -> list[str]:
    """The whole gate's figures, with the bounds that the number of trials supports."""
    summary = body.summary
    false, coverage = summary.false_alarms, summary.coverage
    whole = (
        f"{summary.stored_pairs} pairs of processes in {format_duration(body.spent_s)}"
        f"{LOAD_WORDS[body.load]}"
        f". Whole gates without a change: {false.count} false alarms in {false.trials} that "
        f"share no pair (95 % bound {false.high * 100:.0f} %), "
        f"{false.drawn_rate * 100:.2f} % of {false.drawn_gates} drawn ones; "
        f"{false.drawn_inconclusive_cases * 100:.1f} % of their cases are inconclusive."
    )
    if body.load == "candidate":  # nothing is planted in the step, and one side is slower
        return [whole]
    covered = (
        f"95 % intervals hold the planted truth in {coverage.count} of {coverage.trials} "
        f"({coverage.low * 100:.1f} to {coverage.high * 100:.1f} %), and in "
        f"{coverage.rate * 100:.1f} % of drawn ones; bias {coverage.bias * 100:+.2f} points, "
        f"at most {coverage.largest_bias * 100:+.2f} in a case."
    )
    powers = ", ".join(
        f"+{p.effect * 100:g} % {p.count} of {p.trials} ({p.low * 100:.0f} to {p.high * 100:.0f} %)"
        for p in summary.power
    )
    at_once = ", ".join(
        f"+{p.effect * 100:g} % {p.whole_gate_rate * 100:.1f} %" for p in summary.power
    )
    seen = (
        f"In one case alone, seen in gates that share no pair: {powers}. In all cases at once, "
        f"drawn gates that are red: {at_once}."
    )
    faults = []
    for fault in body.faults:
        caught = "caught" if fault.is_caught else f"NOT caught ({fault.verdict})"
        faults.append(f"Planted: {fault.fault} in {fault.case}: {caught}.")
    return [whole, covered, seen, *faults]
