"""Real gates of a commit against itself, counted: how often is one red without a reason?

A self-test draws its gates from pairs that they share, so few of its gates are independent. Each
real gate whose sides have the same code and settings is one more, of whatever day and machine. It
is kept as one line of JSON, and the bound is exact (Clopper and Pearson, 1934).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from mfubench.gate.rules.document import GateVerdict, Proportion
from mfubench.gate.rules.policy import INCONCLUSIVE, RULE, Verdict
from mfubench.gate.rules.trials import proportion

NAME = "gates-without-a-change.jsonl"
"""In the folder of results, beside the machines' own folders."""


class QuietGate(Struct, kw_only=True):
    """A gate of some code against itself."""

    created: str
    machine: str
    """Its fingerprint."""
    rule: str
    """What judged: gates of another rule are not counted with it."""
    preset: str | None
    """None of training scripts."""
    device: str
    digest: str
    """Of the code on both sides."""
    pairs: int
    """Measured pairs of processes."""
    verdict: Verdict
    is_red: bool
    cases: int
    inconclusive_cases: int
    spent_s: float


class Counted(Struct, kw_only=True):
    """What the ledger of one rule adds up to."""

    gates: Proportion
    """Red ones of all."""
    cases: Proportion
    """Inconclusive ones of all."""
    machines: int
    first: str
    last: str
    spent_s: float


def quiet_gate(gate: GateVerdict, *, created: str, machine: str) -> QuietGate | None:
    """The line of a gate; None where its sides differ."""
    base, candidate = gate.base, gate.candidate
    same = (base.digest, base.settings) == (candidate.digest, candidate.settings)
    if not same:
        return None
    verdicts = [case.verdict for case in gate.cases]
    return QuietGate(
        created=created,
        machine=machine,
        rule=RULE,
        preset=gate.preset,
        device=gate.device,
        digest=base.digest,
        pairs=len(gate.measured),
        verdict=gate.verdict,
        is_red=gate.exit_status == 1,
        cases=len(verdicts),
        inconclusive_cases=verdicts.count(INCONCLUSIVE),
        spent_s=gate.spent_s,
    )


def read_ledger(results_dir: Path) -> list[QuietGate]:
    """The lines of a folder of results that are whole; none where there is no ledger."""
    path = results_dir / NAME
    found = []
    if path.exists():
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(msgspec.MsgspecError):
                found.append(msgspec.json.decode(line, type=QuietGate))
    return found


def add_to_ledger(results_dir: Path, gate: QuietGate) -> None:
    """One more line. Raises OSError."""
    results_dir.mkdir(parents=True, exist_ok=True)
    with (results_dir / NAME).open("ab") as file:
        file.write(msgspec.json.encode(gate) + b"\n")


def counted(ledger: Iterable[QuietGate], *, rule: str = RULE) -> Counted | None:
    """What the gates of a rule add up to; None where there are none.

    >>> counted([]) is None
    True
    """
    gates = [gate for gate in ledger if gate.rule == rule]
    if not gates:
        return None
    return Counted(
        gates=proportion(Proportion, [gate.is_red for gate in gates]),
        cases=proportion(Proportion, _cases(gates)),
        machines=len({gate.machine for gate in gates}),
        first=min(gate.created for gate in gates),
        last=max(gate.created for gate in gates),
        spent_s=sum(gate.spent_s for gate in gates),
    )


def _cases(gates: Sequence[QuietGate]) -> list[bool]:
    return [number < gate.inconclusive_cases for gate in gates for number in range(gate.cases)]


def ledger_text(found: Counted | None) -> str:
    """The counts in words."""
    if found is None:
        return (
            "No gate of a commit against itself is kept yet. On a clean tree, mfubench gate --base "
            "HEAD is one; each is kept, of any day and machine."
        )
    gates, cases = found.gates, found.cases
    machines = "one machine" if found.machines == 1 else f"{found.machines} machines"
    return (
        f"{gates.count} false alarms in {gates.trials} gates of a commit against itself that share "
        f"nothing (at most {gates.high * 100:.2g} %, 95 % confidence: {gates.low * 100:.2g} to "
        f"{gates.high * 100:.2g} %), on {machines}, {found.first[:10]} to {found.last[:10]}. Of "
        f"their {cases.trials} cases {cases.count} were inconclusive ({cases.low * 100:.2g} to "
        f"{cases.high * 100:.2g} %)."
    )
