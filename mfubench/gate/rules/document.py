"""What the gate's documents hold: a verdict with its pairs, and a self-test.

Each declaration is the type, the validation and the JSON Schema at once. Changes are fractions of
one, times are seconds, and what is not known is None (null in JSON).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from mfubench.gate.rules.limits import Limits
from mfubench.gate.rules.policy import Change, Judged, Verdict

Count = Annotated[int, Meta(ge=0)]
Rate = Annotated[float, Meta(ge=0, le=1)]
Load = Literal["none", "both", "candidate"]
"""What a self-test plants beside its pairs: a program beside both sides, or one of them."""

# --- pairs of processes --------------------------------------------------------------------------


class Turns(Struct, kw_only=True):
    """Seconds of each turn of either side."""

    base: list[float]
    candidate: list[float]


class PlantedTurns(Struct, kw_only=True):
    """Seconds of turns with planted work: the base's, the candidate's, and of the work alone."""

    base: list[float]
    step: list[float]
    extra: list[float]


class Times(Struct, kw_only=True):
    """The turns of a case in one pair."""

    step: Turns
    control: Turns
    """Of a kernel that is the same on both sides, in the same turns."""
    planted: dict[str, PlantedTurns]
    """By planted share of extra work; empty outside self-tests."""


class Start(Struct, kw_only=True):
    """A side before its turns."""

    start_up_s: float
    loss: float | None
    """None where it was not finite."""


class Counts(Struct, kw_only=True):
    """What does not vary: the peak memory of a step, and the graphs that were compiled."""

    peak_bytes: float | None
    graphs: int


class PairedCase(Struct, kw_only=True, omit_defaults=True):
    """A case of one pair: what both sides gave, or `errors` alone."""

    errors: dict[str, str] | None = None
    """Why a side failed, by side."""
    times: Times | None = None
    start: dict[str, Start] | None = None
    """By side."""
    is_cold: bool | None = None
    """Whether it is the first pair, which compiles."""
    counts: dict[str, Counts] | None = None
    """By side; empty after the first pair."""
    compiled: bool | None = None
    losses: dict[str, list[float | None]] | None = None
    """Of a script, step by step from its first one, by side."""

    def __post_init__(self) -> None:
        measured = (self.times, self.start, self.counts, self.compiled)
        if self.errors is None and None in measured:
            raise ValueError("Expected errors, or times with start, counts and compiled")


WHOLE = Meta(
    extra_json_schema={
        "anyOf": [
            {"required": ["errors"]},
            {"required": ["times", "start", "counts", "compiled"]},
        ]
    }
)
"""In the JSON Schema, what `PairedCase` checks by itself."""


class Pair(Struct, kw_only=True):
    """One pair of fresh processes over all cases."""

    number: Count
    at_s: float
    """Seconds since the epoch."""
    cases: dict[str, Annotated[PairedCase, WHOLE]]


# --- a self-test ---------------------------------------------------------------------------------


class Proportion(Struct, kw_only=True):
    """A count with its exact 95 % bounds."""

    count: Count
    trials: Count
    low: Rate
    high: Rate


class FalseAlarms(Proportion, kw_only=True):
    """Whole gates without a change that are red. Drawn ones share pairs, counted ones do not."""

    drawn_gates: Count
    drawn_rate: Rate
    drawn_inconclusive_cases: Rate


class Power(Proportion, kw_only=True):
    """How often a planted slow-down of one case is seen."""

    effect: float
    """What was planted."""
    true_effect: float
    """What it took, timed by itself."""
    rate: Rate
    """Of drawn gates."""
    whole_gate_rate: Rate
    """Of drawn gates with the same change in every case."""


class Coverage(Proportion, kw_only=True):
    """How often the 95 % interval holds the planted truth."""

    rate: Rate
    bias: float
    largest_bias: float


class CaseFigures(Struct, kw_only=True):
    """What pairs of one case differ by without a change."""

    id: str
    pair_sd: float
    pair_robust_sd: float
    control_sd: float
    mde: float
    """The smallest change that is seen nine times in ten."""


class Summary(Struct, kw_only=True):
    """What gates of so many pairs do on a machine."""

    rule: str = "two batches"
    """Of the verdicts: figures of another rule are calculated anew from the pairs."""
    pairs: Count
    stored_pairs: Count
    false_alarms: FalseAlarms
    power: list[Power]
    """By planted share."""
    coverage: Coverage
    cases: list[CaseFigures]


class DatedSummary(Summary, kw_only=True):
    """A summary in a verdict's document, with the time of its self-test."""

    created: str


class Fault(Struct, kw_only=True):
    """What is counted, not timed, planted once."""

    fault: str
    case: str
    verdict: Verdict
    reason: str | None
    is_caught: bool


class Rival(Struct, kw_only=True):
    """How often another rule alarms at the same times, by planted share."""

    name: str
    rates: dict[str, Rate]


class SelfTest(Struct, kw_only=True):
    """How often the gate errs on a machine: the body of its document."""

    load: Load
    plants: list[float]
    faults: list[Fault]
    rivals: list[Rival]
    spent_s: float
    summary: Summary
    measured: Annotated[list[Pair], Meta(min_length=1)]

    def __post_init__(self) -> None:
        shares = {"0", *(f"{power.effect:g}" for power in self.summary.power)}
        for rival in self.rivals:
            if missing := sorted(shares - set(rival.rates)):
                raise ValueError(f"Expected a rate for {missing[0]} of {rival.name}")


# --- a verdict -----------------------------------------------------------------------------------


class ComparedSide(Struct, kw_only=True):
    """What a side was, without paths of its machine."""

    label: str
    digest: str
    """Of its code."""
    settings: dict[str, Any]
    under_test: list[str]


class MovedBar(Struct, kw_only=True):
    """The bar that grew most in a profile."""

    name: str
    grew_s: float
    share: Rate
    """Of all that grew."""


class CaseVerdict(Struct, kw_only=True):
    """One case of a gate."""

    id: str
    verdict: Verdict
    reason: str | None
    metrics: list[Judged]
    control: Change | None
    """Of a kernel that is the same on both sides."""
    bar: MovedBar | None


class GateVerdict(Struct, kw_only=True):
    """A whole gate: the body of its document."""

    preset: str | None
    """None of training scripts."""
    device: str
    base: ComparedSide
    candidate: ComparedSide
    pairs: Count
    limits: Limits
    looks: list[int] = []
    """After so many pairs was looked; empty where an earlier version used two batches."""
    within_tolerance: Literal["fail", "pass"] = "fail"
    """What "slower, within tolerance" does to the exit status."""
    verdict: Verdict
    exit_status: Literal[0, 1, 2]
    cases: Annotated[list[CaseVerdict], Meta(min_length=1)]
    spent_s: float
    self_test: DatedSummary | None
    """This machine's figures, where it has measured them."""
    measured: list[Pair]
    notes: list[str] = []
    """What a reader must know beside the verdicts, one sentence each."""
