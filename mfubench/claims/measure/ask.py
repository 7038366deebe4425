"""The claims that people make about training a small GPT: each one measured and judged.

To add one, add its words, its test and its rule to `claims.toml`, and here what measures its
figures, the judge that applies the rule, and what it needs. docs/claims.md has a row for each.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import resources
from typing import Any

from mfubench.claims.measure import figures
from mfubench.claims.measure.bench import PRESET, ClaimBench
from mfubench.claims.rules import machines as machine_judges
from mfubench.claims.rules import verdicts as judges
from mfubench.claims.rules.verdicts import UNTESTABLE, Answer
from mfubench.measure.failures import classify
from mfubench.results.answers import ClaimResult
from mfubench.results.outcomes import Outcome
from mfubench.results.record import CaseRecord
from mfubench.suite.outcomes import CaseEnded, CaseResult
from mfubench.suite.runner import CaseRunner

NOT_ANSWERED = "not answered: the run ended before"


def _nothing(bench: ClaimBench) -> str | None:
    return None


def _knob(name: str) -> Callable[[ClaimBench], str | None]:
    return lambda bench: bench.knob_reason(name)


def _effect(name: str) -> Callable[[ClaimBench], dict[str, Any]]:
    return lambda bench: {"effect": bench.effect(name)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim. `judge(**measure(bench))` answers it, where `needs(bench)` has no objection."""

    id: str
    words: str
    test: str
    """How it is tested."""
    rule: str
    """When it holds, with the threshold."""
    measure: Callable[[ClaimBench], dict[str, Any]]
    judge: Callable[..., Answer]
    needs: Callable[[ClaimBench], str | None] = field(default=_nothing)
    """Why it is untestable here, None where it can be tested."""


_WORDS = tomllib.loads(
    resources.files("mfubench.claims").joinpath("claims.toml").read_text(encoding="utf-8")
)


def _claim(
    claim_id: str,
    measure: Callable[[ClaimBench], dict[str, Any]],
    judge: Callable[..., Answer],
    *,
    needs: Callable[[ClaimBench], str | None] = _nothing,
) -> Claim:
    return Claim(id=claim_id, measure=measure, judge=judge, needs=needs, **_WORDS[claim_id])


CLAIMS: tuple[Claim, ...] = (
    _claim("C1", figures.printed_mfu, judges.small_printed_mfu),
    _claim("C2", figures.peaks_of_the_cpu, judges.cpu_peak),
    _claim("C3", figures.peaks_of_the_card, judges.card_peak),
    _claim("C4", figures.time_of_the_loop, judges.where_time_goes),
    _claim("C5", figures.extras_of_the_loop, judges.loop_extras),
    _claim("C6", figures.gpu_cases, machine_judges.gpu_limits, needs=figures.needs_gpu),
    _claim("C7", figures.larger_batches, judges.larger_batch),
    _claim("C8", figures.compiled, judges.compile_gain),
    _claim("C9", _effect("loader workers-4"), judges.knob_helps),
    _claim(
        "C10", _effect("performance cores"), judges.knob_helps, needs=_knob("performance cores")
    ),
    _claim("C11", figures.whole_runs, machine_judges.training_time),
    _claim(
        "C12",
        figures.two_machines,
        machine_judges.gpu_speed_up,
        needs=figures.needs_another_machine,
    ),
    _claim("C13", figures.backends, machine_judges.other_backends),
    _claim("C14", figures.vendors, machine_judges.vendor_text),
)


def ask(runner: CaseRunner, claim: Claim) -> CaseResult:
    """Answer one claim as a case; whatever happens, its record has the claim in it."""
    bench = ClaimBench(runner.session)
    record = CaseRecord(
        case_id=f"claim/{claim.id}",
        question="claim",
        device="cpu",
        preset=PRESET,
        batch_size=bench.preset.batch_size,
        block_size=bench.preset.config.block_size,
        threads=runner.session.threads,
    )
    record.claim = said = ClaimResult(
        id=claim.id,
        claim=claim.words,
        test=claim.test,
        rule=claim.rule,
        conditions=bench.conditions,
        figures={},
        **asdict(Answer(verdict=UNTESTABLE, because=NOT_ANSWERED)),
    )
    return runner.answer(record, lambda: _answer(claim, bench, said))


def _answer(claim: Claim, bench: ClaimBench, said: ClaimResult) -> None:
    """Fill in what is said of a claim. What cannot be tested ends as an outcome with its reason."""
    try:
        reason = claim.needs(bench)
        if reason is not None:
            raise CaseEnded(Outcome.UNSUPPORTED, reason)
        said.figures = claim.measure(bench)
        answer = claim.judge(**said.figures)
        for name, value in asdict(answer).items():
            setattr(said, name, value)
        if answer.verdict == UNTESTABLE and answer.value is None:
            raise CaseEnded(Outcome.UNSUPPORTED, answer.because)
    except CaseEnded as end:
        said.because = end.reason
        raise
    except Exception as error:
        said.because = getattr(error, "reason", None) or classify(error, compiled=True)[1]
        raise
