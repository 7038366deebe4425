"""The claims that people make about training a small GPT, each one declared here.

To add one, add a `Claim` to `CLAIMS`: its words, how it is tested, the rule of its verdict, what it
needs, what it measures (`claim_figures`), and the judge that applies the rule (`analysis.claims`).
docs/claims.md has a row for each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from mfubench.claims.measure import figures
from mfubench.claims.measure.bench import PRESET, ClaimBench
from mfubench.claims.rules import machines as machine_judges
from mfubench.claims.rules import verdicts as judges
from mfubench.claims.rules.verdicts import UNTESTABLE, Answer
from mfubench.measure.failures import classify
from mfubench.results.record import CaseRecord, Outcome
from mfubench.suite.outcomes import CaseEnded, CaseResult
from mfubench.suite.runner import CaseRunner

KNOB_RULE = (
    "the knob helps (interval above 1, gain of 2 % or more); refuted where the interval ends below "
    "a gain of 2 %"
)
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


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="C1",
        words="A printed MFU of 0.01 % is what a laptop CPU should show: it has less than 1 % of a "
        "GPU's throughput.",
        test="nanoGPT's figure for the timed loop, beside the shares of this CPU's peak and "
        "measured ceiling",
        rule="the float32 GEMM ceiling is below 1 % of the A100's 312 TFLOP/s, and the printed "
        "figure is within a factor of 5 of 0.01 %",
        measure=figures.printed_mfu,
        judge=judges.small_printed_mfu,
    ),
    Claim(
        id="C2",
        words="The peak of a laptop CPU for machine learning is about 0.5 to 1 TFLOP/s.",
        test="the peak from instruction set, usable cores and measured clock, and the GEMM ceiling "
        "of each native format",
        rule="the highest native peak is from 0.4 to 1.2 TFLOP/s (the ceiling, where no peak is "
        "known)",
        measure=figures.peaks_of_the_cpu,
        judge=judges.cpu_peak,
    ),
    Claim(
        id="C3",
        words="The float16 peak of an RTX 4070 Ti is about 29 TFLOP/s.",
        test="the table of dense peaks; where such a card is here, its float16 GEMM ceiling too",
        rule="the specified dense peak is within 10 % of 29 TFLOP/s, and the card, where it is "
        "here, sustains no more than that",
        measure=figures.peaks_of_the_card,
        judge=judges.card_peak,
    ),
    Claim(
        id="C4",
        words="With a model this small, the CPU spends its time on data loading, Python and "
        "operators that do no FLOPs to speak of.",
        test="the breakdown of the loop, evaluation and checkpoint left out",
        rule="what is neither matrix product nor attention is at least 50 % of the iteration, "
        "whichever side the unexplained part falls on",
        measure=figures.time_of_the_loop,
        judge=judges.where_time_goes,
    ),
    Claim(
        id="C5",
        words="Evaluation, checkpoints and log_interval=1 each make it worse.",
        test="turns of plain iterations against turns of evaluation batches and of checkpoints, at "
        "the preset's intervals; log_interval 1 against 100 as a knob",
        rule="each of the three adds at least 2 % to a plain iteration (whole interval)",
        measure=figures.extras_of_the_loop,
        judge=judges.loop_extras,
    ),
    Claim(
        id="C6",
        words="On a GPU, launches, memory bandwidth and a small batch hold MFU at 10 %; batch 128 "
        "or half precision brings 15 to 20 %.",
        test="training steps at batch 12 and 128 in single and half precision on the first GPU, "
        "and the breakdown of the first",
        rule="at batch 12 in single precision MFU (of this GPU's own peak) is 5 to 15 %, launch "
        "gaps and memory-bound operators take at least 50 % of the step, and one of the other "
        "cases reaches 15 %",
        measure=figures.gpu_cases,
        judge=machine_judges.gpu_limits,
        needs=figures.needs_gpu,
    ),
    Claim(
        id="C7",
        words="On a CPU, a batch of 24 to 48 is faster than 12.",
        test="batch 24 and batch 48 as knobs, in tokens per second",
        rule="both knobs help (interval above 1, gain of 2 % or more); refuted by one whose "
        "interval ends below a gain of 2 %",
        measure=figures.larger_batches,
        judge=judges.larger_batch,
    ),
    Claim(
        id="C8",
        words="torch.compile makes training on a CPU 20 to 50 % faster.",
        test="compile as a knob in steady steps; its start-up with an empty cache, break-even and "
        "net over 2000 iterations beside it",
        rule="the interval of the steady gain is at or above 20 %",
        measure=figures.compiled,
        judge=judges.compile_gain,
    ),
    Claim(
        id="C9",
        words="num_workers=4 speeds up the input pipeline.",
        test="a DataLoader with 4 workers against batches drawn in line, as a knob of the loop",
        rule=KNOB_RULE,
        measure=_effect("loader workers-4"),
        judge=judges.knob_helps,
    ),
    Claim(
        id="C10",
        words="Pinning the process to the performance cores helps.",
        test="bound to the faster kind of core against all cores, as a knob",
        rule=KNOB_RULE,
        measure=_effect("performance cores"),
        judge=judges.knob_helps,
        needs=_knob("performance cores"),
    ),
    Claim(
        id="C11",
        words="2000 iterations take 10 to more than 30 minutes on the CPU and less than one on "
        "the GPU.",
        test="predicted from the measured iteration, evaluation and checkpoint; checked by "
        "training 200 iterations with an evaluation and a checkpoint (allowed: 10 % apart)",
        rule="prediction and extrapolated training are both 10 minutes or more on the CPU, and "
        "less than one minute on a GPU here or in another machine's saved run",
        measure=figures.whole_runs,
        judge=machine_judges.training_time,
    ),
    Claim(
        id="C12",
        words="The GPU trains this model 10 to 20 times faster than the CPU.",
        test="tokens per second of the loop: here against another machine's saved run, or, with "
        "both in this machine, in pairs",
        rule="the ratio (its interval, in pairs) is from 10 to 20",
        measure=figures.two_machines,
        judge=machine_judges.gpu_speed_up,
        needs=figures.needs_another_machine,
    ),
    Claim(
        id="C13",
        words="GPUs of Intel (xpu), AMD (ROCm) and Apple (mps) can be used, at an MFU of 1 to 5 % "
        "at best.",
        test="a training step in each native format on every such device that is here",
        rule="each that is here trains, and none exceeds an MFU of 5 % of its own peak",
        measure=figures.backends,
        judge=machine_judges.other_backends,
    ),
    Claim(
        id="C14",
        words="The maker of a machine's GPU is what lspci's vendor text says.",
        test="each display device's maker by PCI vendor id, against lspci's vendor field read word "
        "by word",
        rule="the text names that maker and no other, for every display device of Intel, NVIDIA, "
        "AMD or Apple",
        measure=figures.vendors,
        judge=machine_judges.vendor_text,
    ),
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
    record.extra["claim"] = {
        "id": claim.id,
        "claim": claim.words,
        "test": claim.test,
        "rule": claim.rule,
        "conditions": bench.conditions,
        "figures": {},
        **asdict(Answer(verdict=UNTESTABLE, because=NOT_ANSWERED)),
    }
    return runner.answer(record, lambda: _answer(claim, bench, record.extra["claim"]))


def _answer(claim: Claim, bench: ClaimBench, said: dict[str, Any]) -> None:
    """Fill in what is said of a claim. What cannot be tested ends as an outcome with its reason."""
    try:
        reason = claim.needs(bench)
        if reason is not None:
            raise CaseEnded(Outcome.UNSUPPORTED, reason)
        said["figures"] = claim.measure(bench)
        answer = claim.judge(**said["figures"])
        said |= asdict(answer)
        if answer.verdict == UNTESTABLE and answer.value is None:
            raise CaseEnded(Outcome.UNSUPPORTED, answer.because)
    except CaseEnded as end:
        said["because"] = end.reason
        raise
    except Exception as error:
        said["because"] = getattr(error, "reason", None) or classify(error, compiled=True)[1]
        raise
