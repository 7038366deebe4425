"""What a probe measures and what a prediction says: the bodies of their documents.

Each declaration is the type, the validation and the JSON Schema at once. Times are seconds, and
what is not known is None (null in JSON).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from mfubench_model.config import GPTConfig
from msgspec import Meta, Struct

from mfubench.results.outcomes import Bytes, Count, Dtype, Positive, Share, Text

Grade = Literal["anchored", "ceilings", "table"]
"""What is known of the machine: a probe and steps of it, its measured ceilings, or its maker's
peaks."""
GRADES: Mapping[Grade, str] = {
    "anchored": "anchored: this device was probed, and three steps of the mode were run on it",
    "ceilings": "ceilings: only the limits of the device, or another mode of it, were measured",
    "table": "table: nothing was measured on such a device; its maker's peaks are all",
}
"""Each grade in words."""
OperatorName = Literal[
    "linear",
    "attention",
    "attention_dropout",
    "norm",
    "gelu",
    "add",
    "dropout",
    "loss",
    "gather",
    "table",
    "adamw",
    "clip",
    "step",
]
Mode = tuple[Dtype, bool]
"""A dtype, and whether the step is compiled."""
Size = Annotated[int, Meta(ge=1)]
_OF_THE_MODEL = ("block_size", "vocab_size", "n_layer", "n_head", "n_embd", "bias", "dropout")
"""Fields that a setting and a model's configuration have in common."""


class Setting(Struct, frozen=True, kw_only=True):
    """What is trained, and how: named as in results."""

    preset: str | None
    device: str
    dtype: Dtype
    batch_size: Count
    block_size: Count
    compile: bool
    n_layer: Count
    n_head: Count
    n_embd: Count
    vocab_size: Count
    bias: bool = False
    dropout: Share = 0.0
    gradient_accumulation_steps: Count = 1
    """Batches per optimizer step."""

    @classmethod
    def of(cls, config: GPTConfig, **how: Any) -> Setting:
        """A model's sizes with how it is trained; raises TypeError where a field is missing.

        >>> Setting.of(GPTConfig(n_layer=2), preset=None, device="cpu", dtype="float32",
        ...            batch_size=12, compile=False).n_layer
        2
        """
        sizes = {name: getattr(config, name) for name in _OF_THE_MODEL}
        return cls(**how, **sizes)

    @property
    def config(self) -> GPTConfig:
        """The model; raises ConfigError for sizes that make none."""
        return GPTConfig(**{name: getattr(self, name) for name in _OF_THE_MODEL})

    @property
    def tokens(self) -> int:
        """Of one optimizer step."""
        return self.batch_size * self.block_size * self.gradient_accumulation_steps

    @property
    def name(self) -> str:
        """The sizes and the mode in one word, without the device.

        >>> Setting(preset="nanogpt-cpu", device="cpu", dtype="float32", batch_size=12,
        ...         block_size=64, compile=False, n_layer=4, n_head=4, n_embd=128,
        ...         vocab_size=65).name
        'L4-C128-T64-V65-float32-b12-eager'
        """
        how = "compiled" if self.compile else "eager"
        sizes = f"L{self.n_layer}-C{self.n_embd}-T{self.block_size}-V{self.vocab_size}"
        more = self.gradient_accumulation_steps
        batch = f"b{self.batch_size}" + (f"x{more}" if more > 1 else "")
        return f"{sizes}-{self.dtype}-{batch}-{how}"


class OperatorTime(Struct, frozen=True, kw_only=True):
    """One operator at one shape, forward and backward together, as autograd runs it."""

    operator: OperatorName
    dtype: Dtype
    shape: list[Size]
    """linear: tokens, inputs, outputs. attention: sequences × heads, context, head size. loss:
    tokens, vocabulary. All others: elements. A step is one of a single number: what any step has
    besides its operators."""
    seconds: Positive
    """Median of its rounds, one in each sweep."""


class MeasuredStep(Struct, frozen=True, kw_only=True):
    """A training step that was run."""

    setting: Setting
    step_s: Positive
    peak_memory_bytes: Bytes | None


class Probe(Struct, kw_only=True):
    """What a machine's device takes for the operators of a training step, and for whole steps."""

    device: Text
    device_name: str
    threads: Count
    torch_version: str
    measured_at_s: float
    """Seconds since the epoch."""
    spent_s: Share
    unsteady_ratio: Share
    """How far the two halves of the sweeps over the operators lie apart: the median of the larger
    time over the smaller one, less 1."""
    attempts: Count
    """More than 1 where the machine was busy, and was probed again."""
    operators: list[OperatorTime]
    anchors: list[MeasuredStep]
    native_dtypes: list[Dtype]
    """Those that the device has hardware for: what is predicted unless others are asked for."""
    peak_flops_per_s: dict[str, float | None]
    """By dtype."""
    peak_source: str | None
    gemm_flops_per_s: dict[str, float]
    """By dtype: the ceiling, the best rate of a matrix product."""
    bandwidth_bytes_per_s: Positive
    """The ceiling: a triad over arrays that no cache holds."""
    dispatch_s: Positive
    """One addition of one element."""
    total_memory_bytes: Bytes | None
    loop_s: dict[str, float] = {}
    """data: seconds to draw one sequence. checkpoint_bytes_per_s: how fast one is written."""


class Term(Struct, frozen=True, kw_only=True):
    """One line of a prediction."""

    name: Text
    seconds: float
    basis: str
    """How much work, at what rate, known from what."""


class Prediction(Struct, kw_only=True):
    """A setting, and how long its step takes; `outside` says why there is no number."""

    preset: str | None
    script: str | None = None
    """Whose step was counted, where it is no GPT of these sizes: they are null then."""
    device: str
    device_name: str
    dtype: Dtype
    batch_size: Count | None = None
    block_size: Count | None = None
    compile: bool
    n_layer: Count | None = None
    n_head: Count | None = None
    n_embd: Count | None = None
    vocab_size: Count | None = None
    bias: bool | None = None
    gradient_accumulation_steps: Count | None = None
    step_s: Positive | None = None
    """Of an optimizer step."""
    low_s: Positive | None = None
    high_s: Positive | None = None
    """The 80 % interval."""
    tokens_per_s: Positive | None = None
    mfu: Positive | None = None
    peak_memory_bytes: Bytes | None = None
    run_s: Positive | None = None
    """Of all iterations, with data, logging, evaluation and checkpoints as nanoGPT does them; of a
    counted step the steps alone."""
    iterations: Count
    grade: Grade
    binds: str | None = None
    """The largest term."""
    outside: str | None = None
    terms: list[Term] = []


class FrozenPrediction(Struct, frozen=True, kw_only=True):
    """What was said of a held-out setting before it was run."""

    factor: Text
    """What is held out: depth, width, context, batch, vocabulary, dtype, compile, several."""
    setting: Setting
    step_s: Positive | None
    low_s: Positive | None
    high_s: Positive | None
    peak_memory_bytes: Bytes | None
    outside: str | None
    rivals_s: dict[str, Positive]
    """What other rules say, by their names."""


class FrozenPredictions(Struct, kw_only=True):
    """All that a self-test said, saved before it measured anything that it spoke of."""

    probe: Probe
    predictions: list[FrozenPrediction]
    frozen_at_s: float
    """Seconds since the epoch."""


class HeldOut(Struct, frozen=True, kw_only=True):
    """A held-out setting that was run."""

    setting: Setting
    step_s: Positive | None
    """Median of its visits. None where it could not be run: `problem` says why."""
    peak_memory_bytes: Bytes | None
    control_s: Positive
    """A kernel that does the same each time, right before: how busy the machine was. Median."""
    at_s: float
    """Of the first visit, in seconds since the epoch."""
    problem: str | None = None
    visits_s: list[Positive] = []
    """A step's median in each visit: minutes lie between them, as a machine's speed changes over
    minutes."""


class Errors(Struct, frozen=True, kw_only=True):
    """How far one rule's predictions lie from what was measured, as |predicted / measured − 1|."""

    rule: Text
    settings: Count
    median: Share
    p90: Share
    """The 90th percentile."""
    worst: Share
    worst_setting: str
    covered: Share | None
    """The share of measured times inside of the frozen 80 % intervals; None for rules without."""
    half_width: Share | None = None
    """The 80th percentile of |log(predicted / measured)|: the half-width of an interval that would
    have covered 80 % of these."""


class PredictionTest(Struct, kw_only=True):
    """Frozen predictions beside what was measured after them."""

    frozen: Text
    """The name of the file with the predictions."""
    device: Text
    device_name: str
    measured: list[HeldOut]
    errors: list[Errors]
    """Of the model and its rivals, over all settings that were run."""
    by_factor: dict[str, Errors]
    """Of the model, by what was held out."""
    memory: Errors | None
    """Of peak memory, eager steps."""
    questions: Annotated[int, Meta(ge=0)]
    """Models of which several batch sizes or modes were held out: which trains fastest?"""
    answered: Annotated[int, Meta(ge=0)]
    """Those where what was predicted to be fastest is within 3 % of the fastest measured."""
    drift_ratio: Share
    """The control kernel's 90th percentile over its median, less 1."""
    budget_s: Positive
    spent_s: Share
    ended: Literal["complete", "out of budget", "interrupted"]
