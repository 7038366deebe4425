"""What only some questions answer with: a knob's effect, a claim's verdict, a planted cost."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from mfubench.results.bars import BarChange
from mfubench.results.outcomes import Count, Positive, Share, Text, Worth, known


class GateLimits(Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the marker of a test allows its cases, for the gate."""

    floor: Share | None = None
    tolerance: Share | None = None


class KnobResult(Struct, kw_only=True):
    """A setting that was turned, and its effect; without one where it was not measured."""

    name: str
    before: str
    after: str
    nanogpt: str
    """What to type for nanoGPT's train.py, or what to change in it."""
    pytorch: str
    changes_numerics: bool
    ratio: Positive | None = None
    """Tokens per second with the knob over without."""
    low: Positive | None = None
    high: Positive | None = None
    """95 % interval of the ratio."""
    pairs: int | None = None
    processes: int | None = None
    verdict: Worth | None = None
    beyond: float | None = None
    base_s_per_token: list[list[float]] = []
    candidate_s_per_token: list[float] = []
    turns_per_build: int = 0
    bars: list[BarChange] | None = None
    start_up_s: float | None = None
    """Of a compiled knob: its first steps over as many steady ones, with an empty cache."""
    warm_start_up_s: float | None = None
    break_even_iters: float | None = None
    net_ratio: float | None = None
    horizon_iters: int | None = None
    """Iterations that `net_ratio` is over."""

    def check(self) -> None:
        """What a knob that was measured must say. Raises msgspec.ValidationError."""
        wanted = ["ratio", "low", "high", "verdict"]
        if self.verdict == "no difference":
            wanted.append("beyond")
        if self.start_up_s is not None:
            wanted += ["net_ratio", "horizon_iters"]
        if self.break_even_iters is not None:
            wanted.append("horizon_iters")
        for name in wanted:
            if getattr(self, name) is None:
                raise msgspec.ValidationError(
                    f"Expected a value, got `null` of a knob that was measured - at `$.knob.{name}`"
                )

    @property
    def effect(self) -> tuple[float, float, float]:
        """Ratio, low and high of a knob that was measured. Raises ValueError for another."""
        return known(self.ratio), known(self.low), known(self.high)


class ClaimResult(Struct, kw_only=True):
    """A common claim, tested by a written rule."""

    id: Text
    claim: Text
    test: str
    rule: str
    conditions: str
    figures: dict[str, Any]
    """What was measured; each claim has figures of its own (`docs/claims.md`)."""
    verdict: Literal["holds", "does not hold", "untestable here"]
    because: Text
    value: float | None
    unit: str | None
    low: float | None
    high: float | None


class PlantedCost(Struct, kw_only=True):
    """A cost that was planted in a step, and what the breakdown found of it."""

    name: Text
    bar: Text
    """The bar that it belongs to."""
    looks: Count
    """Profiled turns of the step with the cost and of the one without."""
    planted_s: float
    """What the step takes longer."""
    found_s: float
    """What its bar takes longer."""
    found_ratio: float
    elsewhere: Text
    """The bar among the others that changed most, by `elsewhere_s`."""
    elsewhere_s: float


class UncountedOperator(Struct, kw_only=True):
    """An operator whose FLOPs nobody can count, and its seconds in a counted step."""

    operator: str
    seconds: float | None


class ScriptAnswer(Struct, kw_only=True):
    """What is known of a training script beside its times and rates; docs/run.md says how."""

    argv: list[str] | None = None
    boundary: str | None = None
    """How steps were found, or why not."""
    steps_seen: int | None = None
    steps_skipped: int | None = None
    accumulation: int | None = None
    """Backward passes per step; None where steps differ."""
    ended_early: str | None = None
    parts_lost: list[str] | None = None
    """What could not be worked out of the run, and the error that it failed with."""
    compiled_graphs: int | None = None
    rank: int | None = None
    ranks: int | None = None
    loader_wait_s: float | None = None
    loader_batches: float | None = None
    backward_s: float | None = None
    optimizer_s: float | None = None
    evaluation_total_s: float | None = None
    evaluations: int | None = None
    checkpoint_total_s: float | None = None
    checkpoints: int | None = None
    loop_s: Positive | None = None
    """The whole of training, pauses included."""
    flops_uncounted_share: float | None = None
    flops_uncounted: list[UncountedOperator] | None = None
    flops_are_a_lower_bound: bool | None = None
    flops_vary: bool | None = None
    flops_counted_steps: list[int] | None = None
    flops_forward: int | None = None
    flops_backward: int | None = None
    flops_recomputed: int | None = None
    flops_optimizer: int | None = None
    flops_full_attention_per_step: int | None = None
    flops_by_operator: list[dict[str, Any]] | None = None
    flops_by_module: list[dict[str, Any]] | None = None
    opaque_graphs: int | None = None
    samples_per_forward: int | None = None
    closed_form_flops_per_step: int | None = None


class TriedShape(Struct, kw_only=True):
    """A matrix product m×k by k×n that was tried in the search for a ceiling."""

    shape_mnk: tuple[int, int, int]
    layout: str
    flops_per_s: float
