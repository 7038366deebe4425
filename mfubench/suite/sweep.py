"""Which cases a run measures: the sweeps, and the options that narrow or widen them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mfubench.results.case_id import STRATEGIES, Scaling, Strategy

SWEEPS = ("smoke", "default", "full")
MAX_BATCH_SIZE = 2**20
MAX_THREADS = 4096
MAX_RANKS = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """What one named sweep measures where no option says otherwise."""

    batch_multiples: tuple[int, ...]
    """Batch sizes as multiples of the preset's own."""
    compile: tuple[bool, ...]
    few_compile: tuple[bool, ...]
    """Compile modes of the questions that are asked of few cases: the loop and the breakdowns."""
    all_dtypes: bool
    """Every dtype the device supports, or only those it has fast instructions for."""
    rounds_budget_s: float
    """Seconds of timed rounds per case."""
    warmup_budget_s: float
    """Seconds of warm-up per case, after its first step."""
    ceiling_budget_s: float
    """Seconds of timed rounds per ceiling, and again of searching shapes."""


PLANS = {
    "smoke": SweepPlan(
        batch_multiples=(1,),
        compile=(False,),
        few_compile=(False,),
        all_dtypes=False,
        rounds_budget_s=1.2,
        warmup_budget_s=0.8,
        ceiling_budget_s=0.8,
    ),
    "default": SweepPlan(
        batch_multiples=(1, 4),
        compile=(False, True),
        few_compile=(False,),
        all_dtypes=False,
        rounds_budget_s=3.0,
        warmup_budget_s=2.0,
        ceiling_budget_s=1.5,
    ),
    "full": SweepPlan(
        batch_multiples=(1, 2, 4, 10),
        compile=(False, True),
        few_compile=(False, True),
        all_dtypes=True,
        rounds_budget_s=5.0,
        warmup_budget_s=3.0,
        ceiling_budget_s=3.0,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """What was asked for on the command line. None means: let the sweep and the machine decide."""

    sweep: str = "default"
    presets: tuple[str, ...] = ("nanogpt-cpu",)
    devices: tuple[str, ...] | None = None
    dtypes: tuple[str, ...] | None = None
    batch_sizes: tuple[int, ...] | None = None
    compile: tuple[bool, ...] | None = None
    corpus: Path | None = None
    threads: int | None = None
    ranks: tuple[int, ...] | None = None
    strategies: tuple[Strategy, ...] = STRATEGIES
    scalings: tuple[Scaling, ...] = ("weak",)
    results_dir: Path = Path("results")
    ceiling_max_age_s: float = 7 * 86400.0
    claims_against: Path | None = None
    """A saved run of another machine."""
    save_trace: Path | None = None
    """Where a breakdown writes the profiler's trace of a few steps."""

    @property
    def plan(self) -> SweepPlan:
        return PLANS[self.sweep]
