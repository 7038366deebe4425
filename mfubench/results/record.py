"""The record of one case: what was asked, what came out, and why not where nothing did.

A record is what stands in a result file as a case's `extra_info`. Ratios are fractions of one,
times are seconds, and a value that is not known is None (null in JSON), never zero.
`docs/results.md` describes every field; `analysis/result.schema.json` checks them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

SCHEMA_VERSION = 1


class Outcome(StrEnum):
    """How a case ended. Everything but `ok` carries a reason and no rates."""

    OK = "ok"
    INVALID = "invalid"
    """Timed, but a guard refused the number: impossible rate, zero time, loss not finite."""
    UNAVAILABLE = "unavailable"
    """The device is not on this machine, or torch was not built for it."""
    UNSUPPORTED = "unsupported"
    """The device is there and cannot do this: no such dtype, no such operation."""
    OUT_OF_MEMORY = "out_of_memory"
    COMPILE_FAILED = "compile_failed"
    ERROR = "error"
    INTERRUPTED = "interrupted"

    @property
    def is_a_limit(self) -> bool:
        """True where the machine, not the code, says no: recorded, and no failure of the run."""
        return self in _LIMITS


_LIMITS = frozenset(
    {Outcome.UNAVAILABLE, Outcome.UNSUPPORTED, Outcome.OUT_OF_MEMORY, Outcome.COMPILE_FAILED}
)


@dataclass(slots=True, kw_only=True)
class CaseRecord:
    """One case of one run. The first block is what was asked, the rest is what came out."""

    case_id: str
    question: str
    """ceiling, train-step, train-loop, harness, breakdown, breakdown-loop, knob, claim or
    script."""
    device: str
    dtype: str | None = None
    preset: str | None = None
    batch_size: int | None = None
    """Sequences per step."""
    block_size: int | None = None
    """Tokens per sequence."""
    compile: bool | None = None
    threads: int | None = None
    """Intra-operator threads of the CPU."""

    outcome: Outcome = Outcome.ERROR
    outcome_reason: str | None = None

    step_s: float | None = None
    """Median round, seconds: what every rate below is computed from."""
    step_spread_ratio: float | None = None
    """Interquartile range of the rounds over their median."""
    rounds: int | None = None
    tokens_per_step: int | None = None
    tokens_per_s: float | None = None
    model_flops_per_step: int | None = None
    """Exact causal count, forward and backward."""
    palm_flops_per_step: int | None = None
    hardware_flops_per_step: int | None = None
    flops_source: str | None = None
    """formula, or counted from what torch dispatched."""
    achieved_flops_per_s: float | None = None
    peak_flops_per_s: float | None = None
    peak_source: str | None = None
    ceiling_flops_per_s: float | None = None
    ceiling_noise_ratio: float | None = None
    ceiling_age_s: float | None = None
    mfu: float | None = None
    ceiling_utilisation: float | None = None
    mfu_a100: float | None = None
    """What nanoGPT prints: its own count over 312 TFLOP/s, whatever the device."""
    warmup_s: float | None = None
    warmup_steps: int | None = None
    steady: bool | None = None
    """Whether step times had settled when timing began."""
    compile_s: float | None = None
    """Start-up cost of a compiled case: its first steps over as many steady ones."""
    peak_memory_bytes: int | None = None
    predicted_memory_bytes: int | None = None
    loss: float | None = None
    """Training loss at step `loss_step` from a fixed seed, so that runs can be compared."""
    loss_step: int | None = None

    extra: dict[str, Any] = field(default_factory=dict)
    """Fields of one question only (a GEMM's shape, the loop's evaluation time)."""

    def as_extra_info(self) -> dict[str, Any]:
        """The flat JSON object that stands in a result file."""
        fields = asdict(self)
        extra = fields.pop("extra")
        fields["outcome"] = self.outcome.value
        return {**fields, **extra}


def case_id(
    question: str,
    *,
    device: str,
    dtype: str | None = None,
    preset: str | None = None,
    batch_size: int | None = None,
    compile: bool | None = None,
) -> str:
    """The stable name of a case.

    >>> case_id("train-step", preset="nanogpt-cpu", device="cpu", dtype="float32",
    ...         batch_size=12, compile=False)
    'train-step/nanogpt-cpu/cpu-float32-b12-eager'
    """
    setting = [device]
    if dtype is not None:
        setting.append(dtype)
    if batch_size is not None:
        setting.append(f"b{batch_size}")
    if compile is not None:
        setting.append("compiled" if compile else "eager")
    return "/".join(part for part in (question, preset, "-".join(setting)) if part)
