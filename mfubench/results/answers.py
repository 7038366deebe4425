"""What only some questions answer with: a knob's effect, a claim's verdict, a planted cost."""

from __future__ import annotations

from typing import Any, Literal

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
    low: float | None = None
    high: float | None = None
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


class TriedShape(Struct, kw_only=True):
    """A matrix product m×k by k×n that was tried in the search for a ceiling."""

    shape_mnk: tuple[int, int, int]
    layout: str
    flops_per_s: float
