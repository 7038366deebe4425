"""One line per case, for progress and logs."""

from __future__ import annotations

from collections.abc import Callable

from mfubench.claims.show.text import claim_line
from mfubench.knobs.text import knob_line
from mfubench.ranks.show.text import ranks_line
from mfubench.results.outcomes import Outcome, known
from mfubench.results.record import CaseRecord
from mfubench.show.units import format_duration, format_share, format_si


def case_line(record: CaseRecord) -> str:
    """What came out of one case, short.

    >>> case_line(CaseRecord(case_id="train-step/gpt2/cuda-bfloat16-b12-eager", device="cuda",
    ...                      question="train-step", outcome=Outcome.UNAVAILABLE,
    ...                      outcome_reason="no CUDA device"))
    'train-step/gpt2/cuda-bfloat16-b12-eager  unavailable: no CUDA device'
    """
    name = record.case_id
    is_untestable = record.claim is not None and record.outcome is Outcome.UNSUPPORTED
    if record.outcome != Outcome.OK and not is_untestable:
        return f"{name}  {record.outcome}: {record.outcome_reason}"
    if record.question.startswith("breakdown") and record.breakdown is not None:
        unexplained = format_share(record.breakdown_unexplained, digits=2)
        return f"{name}  {record.breakdown_binds}, {unexplained} unexplained"
    if short := _SHORT.get(record.question):
        return f"{name}  {short(record)}"
    step = format_duration(record.step_s)
    tokens = format_si(record.tokens_per_s, "tok/s")
    share = format_share(record.ceiling_utilisation)
    return f"{name}  {step} · {tokens} · {share} of the ceiling"


def ceiling_rate(record: CaseRecord, rate: float | None = None) -> str:
    """The rate of a ceiling case in its own unit, or another rate of its kind.

    >>> ceiling_rate(CaseRecord(case_id="ceiling/dispatch/cpu", question="ceiling", device="cpu",
    ...     ceiling_kind="dispatch", ceiling_rate_per_s=8e5, ceiling_unit="op"))
    '1.25 µs per operation'
    """
    rate = known(record.ceiling_rate_per_s) if rate is None else rate
    if record.ceiling_kind == "dispatch":
        return f"{format_duration(1 / rate)} per operation"
    return format_si(rate, f"{record.ceiling_unit}/s")


def harness_ratio(record: CaseRecord) -> str:
    """How the harness's step compares with a bare loop's.

    >>> harness_ratio(CaseRecord(case_id="x", question="harness", device="cpu", harness_pairs=120,
    ...     harness_ratio=1.002, harness_ratio_low=0.998, harness_ratio_high=1.006))
    'timed step / bare step = 1.002 (95 % interval 0.998 to 1.006, 120 pairs)'
    """
    return (
        f"timed step / bare step = {record.harness_ratio:.3f} (95 % interval "
        f"{record.harness_ratio_low:.3f} to {record.harness_ratio_high:.3f}, "
        f"{record.harness_pairs} pairs)"
    )


def planted_line(record: CaseRecord) -> str:
    """What the breakdown found of a planted cost.

    >>> from mfubench.results.answers import PlantedCost
    >>> planted_line(CaseRecord(case_id="x", question="planted", device="cpu", planted=PlantedCost(
    ...     name="needless clones", bar="copies", looks=12, planted_s=1e-3, found_s=9.6e-4,
    ...     found_ratio=0.96, elsewhere="gemm", elsewhere_s=2e-5)))
    'planted 1.00 ms; found 960 µs in copies (96.0 %); most elsewhere: 20.0 µs in gemm'
    """
    planted = known(record.planted)
    return (
        f"planted {format_duration(planted.planted_s)}; found {format_duration(planted.found_s)} "
        f"in {planted.bar} ({format_share(planted.found_ratio)}); most elsewhere: "
        f"{format_duration(planted.elsewhere_s)} in {planted.elsewhere}"
    )


_SHORT: dict[str, Callable[[CaseRecord], str]] = {
    "ceiling": ceiling_rate,
    "harness": harness_ratio,
    "knob": knob_line,
    "claim": claim_line,
    "planted": planted_line,
    "ranks": ranks_line,
}
