"""The record of one case: what was asked, what came out, and why not where nothing did.

A record is what stands in a result file as a case's `extra_info`. This declaration is the type, the
validation and the JSON Schema at once. Ratios are fractions of one, times are seconds, and a value
that is not known is None (null in JSON), never zero. `docs/results.md` describes every field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

import msgspec
from msgspec import Meta

from mfubench.results.answers import (
    ClaimResult,
    GateLimits,
    KnobResult,
    PlantedCost,
    TriedShape,
)
from mfubench.results.bars import Bar, Binds, Operator
from mfubench.results.outcomes import (
    TRAINING,
    Bytes,
    Count,
    Dtype,
    Outcome,
    Positive,
    Question,
    Share,
    Text,
)
from mfubench.results.ranks import RanksAnswer


class CaseRecord(RanksAnswer, kw_only=True):
    """One case of one run: what was asked, what came out, and what only one question has."""

    case_id: Text
    question: Question
    device: str
    dtype: Dtype | None = None
    preset: str | None = None
    batch_size: Count | None = None
    """Sequences per step."""
    block_size: Count | None = None
    """Tokens per sequence."""
    compile: bool | None = None
    threads: Count | None = None
    """Intra-operator threads of the CPU."""

    outcome: Outcome = Outcome.ERROR
    outcome_reason: str | None = None

    step_s: Positive | None = None
    """Median round, seconds: what every rate below is computed from."""
    step_spread_ratio: Share | None = None
    """Interquartile range of the rounds over their median."""
    rounds: Count | None = None
    tokens_per_step: Count | None = None
    tokens_per_s: Positive | None = None
    model_flops_per_step: Count | None = None
    """Exact causal count, forward and backward."""
    palm_flops_per_step: Count | None = None
    hardware_flops_per_step: Count | None = None
    flops_source: str | None = None
    """formula, or counted from what torch dispatched."""
    achieved_flops_per_s: Positive | None = None
    peak_flops_per_s: Positive | None = None
    peak_source: str | None = None
    ceiling_flops_per_s: Positive | None = None
    ceiling_noise_ratio: Share | None = None
    ceiling_age_s: Share | None = None
    mfu: Positive | None = None
    ceiling_utilisation: Positive | None = None
    mfu_a100: Positive | None = None
    """What nanoGPT prints: its own count over 312 TFLOP/s, whatever the device."""
    warmup_s: Share | None = None
    warmup_steps: Count | None = None
    steady: bool | None = None
    """Whether step times had settled when timing began."""
    compile_s: Share | None = None
    """Start-up cost of a compiled case: its first steps over as many steady ones."""
    peak_memory_bytes: Bytes | None = None
    predicted_memory_bytes: Bytes | None = None
    loss: float | None = None
    """Training loss at step `loss_step` from a fixed seed, so that runs can be compared."""
    loss_step: Count | None = None

    # --- fields of some questions: they stand in a file only where they have a value -------------

    gate: GateLimits | None = None
    matmul_error_ratio: Share | None = None
    """Error of a matrix product in the case's dtype against float64 (root mean squares): it says in
    which format products really ran."""
    device_state: dict[str, Any] | None = None
    """On a GPU, at work after the last round: clock, power, temperature, what holds clocks back."""
    peak_reserved_bytes: Bytes | None = None
    """On a GPU: what torch held for tensors at most, its cache included."""
    steps_per_round: Count | None = None
    """Steps of a round, where the host runs ahead of a GPU and waits once per round; a round's
    seconds are per step."""
    nanogpt_flops_per_step: Count | None = None
    rounds_s: list[float] | None = None
    """The rounds of a case that did not end `ok`; those of the others are in its stats."""

    ceiling_kind: str | None = None
    ceiling_unit: str | None = None
    ceiling_rate_per_s: Positive | None = None
    ceiling_kept_rate_per_s: Positive | None = None
    work_per_round: float | None = None
    shape_mnk: list[int] | None = None
    layout: str | None = None
    repeats: int | None = None
    array_bytes: int | None = None
    search: list[TriedShape] | None = None

    max_iters: int | None = None
    eval_interval: int | None = None
    eval_iters: int | None = None
    log_interval: int | None = None
    evaluation_s: Share | None = None
    evaluation_batches_timed: int | None = None
    checkpoint_s: Share | None = None
    iteration_amortised_s: Positive | None = None
    predicted_training_s: Share | None = None

    harness_ratio: Positive | None = None
    harness_ratio_low: float | None = None
    harness_ratio_high: float | None = None
    harness_pairs: int | None = None
    bare_rounds_s: list[float] | None = None

    breakdown: Annotated[list[Bar], Meta(min_length=1)] | None = None
    breakdown_step_s: Positive | None = None
    breakdown_binds: Binds | None = None
    breakdown_groups: dict[str, float] | None = None
    breakdown_unexplained: float | None = None
    breakdown_operators: list[Operator] | None = None
    breakdown_problem: str | None = None
    breakdown_note: str | None = None
    profiler_event_cost_s: float | None = None
    profiler_events_per_step: float | None = None
    profiled_step_s: float | None = None
    profile_by_module: bool | None = None

    knob: KnobResult | None = None
    claim: ClaimResult | None = None
    planted: PlantedCost | None = None

    extra: dict[str, Any] = msgspec.field(default_factory=dict)
    """Fields that are not declared here: of a newer version, or of a user's own question."""

    @property
    def work(self) -> tuple[str | None, str, str | None, int | None]:
        """What is the same of an eager and a compiled case, a step and a loop: preset, device,
        dtype, batch size."""
        return self.preset, self.device, self.dtype, self.batch_size

    @property
    def setting(self) -> str:
        """The case without its question.

        >>> CaseRecord(case_id="train-step/gpt2/cpu-float32-b12-eager", question="train-step",
        ...            device="cpu").setting
        'gpt2/cpu-float32-b12-eager'
        """
        return self.case_id.partition("/")[2]

    @property
    def distance(self) -> tuple[bool, int, int]:
        """How far a case is from what nanoGPT's user ran: the step, the smallest batch; eager
        float32 on a CPU, and compiled bfloat16 on a GPU, as nanoGPT's own settings are.

        >>> def of(device, dtype, compile):
        ...     return CaseRecord(case_id="x", question="train-step", device=device, dtype=dtype,
        ...                       compile=compile, batch_size=12).distance
        >>> of("cpu", "float32", False) < of("cpu", "float32", True)
        True
        >>> of("cuda", "bfloat16", True) < of("cuda", "bfloat16", False) < of("cuda", "tf32", False)
        True
        """
        if self.device == "cpu" or self.device.startswith("mps"):
            strange = int(bool(self.compile))
        else:
            dtypes = {"bfloat16": 0, "float16": 2, "tf32": 4}
            strange = dtypes.get(self.dtype or "", 6) + int(not self.compile)
        return self.question != "train-step", strange, self.batch_size or 0

    @property
    def how(self) -> str:
        """compiled or eager."""
        return "compiled" if self.compile else "eager"

    @classmethod
    def from_data(cls, info: Mapping[str, Any]) -> Self:
        """The record in a file's `extra_info`; fields that are not declared go to `extra`.

        Raises msgspec.ValidationError with the field and what was expected of it.

        >>> info = {"case_id": "x", "question": "ceiling", "device": "cpu", "outcome": "error",
        ...         "outcome_reason": "no disk", "of_version_9": 1}
        >>> CaseRecord.from_data(info).extra
        {'of_version_9': 1}
        """
        declared = {name: value for name, value in info.items() if name in DECLARED}
        record = msgspec.convert(declared, cls)
        record.extra = {name: value for name, value in info.items() if name not in DECLARED}
        record.check()
        return record

    def check(self) -> None:
        """What no single field can say. Raises msgspec.ValidationError.

        A case that is `ok` has a step time, rates where it trains, and what its shares are shares
        of; one that is not has a reason and no rate.
        """
        if self.outcome is Outcome.OK:
            for name in self._wanted():
                if getattr(self, name) is None:
                    raise msgspec.ValidationError(
                        f"Expected a value, got `null` of a case that is ok - at `$.{name}`"
                    )
            if self.knob is not None:
                self.knob.check()
        else:
            if not self.outcome_reason:
                raise msgspec.ValidationError(
                    "Expected the reason of an outcome that is not ok - at `$.outcome_reason`"
                )
            for name in RATES:
                if getattr(self, name) is not None:
                    raise msgspec.ValidationError(
                        f"Expected `null` of a case that is not ok - at `$.{name}`"
                    )
        if self.question == "claim" and self.claim is None:
            raise msgspec.ValidationError("Expected an object - at `$.claim`")

    def _wanted(self) -> tuple[str, ...]:
        """The fields that a case which is ok must have."""
        wanted: tuple[str, ...] = ("rounds",) if self.question == "claim" else MEASURED
        if self.question in TRAINING:
            wanted += TRAINED
        if self.breakdown is not None:
            wanted += ACCOUNTED
        wanted += tuple(
            whole for share, whole in SHARES.items() if getattr(self, share) is not None
        )
        return wanted + ANSWERED.get(self.question, ())

    def as_extra_info(self) -> dict[str, Any]:
        """The flat JSON object that stands in a result file."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        extra = data.pop("extra")
        for name in SOMETIMES:
            if data[name] is None and not (name == "slow_rank" and self.question == "ranks"):
                del data[name]
        return {**{name: data.pop(name) for name in ALWAYS}, **data, **extra}

    def withhold(self) -> None:
        """Take every rate out of a record that did not end well: a wrong number is worse than
        none."""
        for name in RATES:
            setattr(self, name, None)


RATES = ("tokens_per_s", "achieved_flops_per_s", "mfu", "ceiling_utilisation", "mfu_a100", "step_s")
MEASURED = ("rounds", "step_s")
TRAINED = (
    "batch_size",
    "tokens_per_step",
    "model_flops_per_step",
    "tokens_per_s",
    "achieved_flops_per_s",
    "warmup_s",
    "loss",
    "preset",
    "dtype",
    "compile",
)
ACCOUNTED = ("breakdown_step_s", "breakdown_groups", "breakdown_unexplained")
SHARES = {"mfu": "peak_flops_per_s", "ceiling_utilisation": "ceiling_flops_per_s"}
"""What a share is a share of."""
ANSWERED: Mapping[str, tuple[str, ...]] = {
    "ceiling": ("ceiling_kind", "ceiling_unit", "ceiling_rate_per_s"),
    "harness": ("harness_ratio", "harness_ratio_low", "harness_ratio_high", "harness_pairs"),
    "knob": ("knob",),
    "planted": ("planted",),
    "ranks": (
        *("ranks", "strategy", "scaling", "efficiency", "contention"),
        *("communication_exposed", "skew", "per_rank"),
    ),
    "script": (
        *("loop_s", "steps_seen", "loader_wait_s"),
        *("evaluation_total_s", "checkpoint_total_s"),
    ),
}
"""What the answer of a question is, beside its rounds."""
DECLARED = frozenset(CaseRecord.__struct_fields__) - {"extra"}
FIELDS = CaseRecord.__struct_fields__
ALWAYS = FIELDS[FIELDS.index("case_id") : FIELDS.index("loss_step") + 1]
SOMETIMES = tuple(name for name in FIELDS if name not in (*ALWAYS, "extra"))
