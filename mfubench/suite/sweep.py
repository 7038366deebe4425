"""Which cases a run measures: the sweeps, and the options that narrow or widen them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

SWEEPS = ("smoke", "default", "full")
MAX_BATCH_SIZE = 2**20
MAX_THREADS = 4096


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
    results_dir: Path = Path("results")
    ceiling_max_age_s: float = 7 * 86400.0
    claims_against: Path | None = None
    """A saved run of another machine."""
    save_trace: Path | None = None
    """Where a breakdown writes the profiler's trace of a few steps."""

    @property
    def plan(self) -> SweepPlan:
        return PLANS[self.sweep]


class TrainCase(NamedTuple):
    """One point of the sweep, as pytest parameters."""

    preset: str
    device: str
    dtype: str
    batch_size: int
    compile: bool

    @property
    def id(self) -> str:
        """Hand-written and stable: it never depends on the order or number of other cases.

        >>> TrainCase("gpt2", "cuda", "bfloat16", 12, True).id
        'gpt2/cuda-bfloat16-b12-compiled'
        """
        how = "compiled" if self.compile else "eager"
        return f"{self.preset}/{self.device}-{self.dtype}-b{self.batch_size}-{how}"


def train_cases(
    options: SweepOptions,
    *,
    devices_of: Callable[[str], tuple[str, ...]],
    dtypes_of: Callable[[str], tuple[str, ...]],
    batch_size_of: Callable[[str], int],
    compile_modes: tuple[bool, ...],
    batch_multiples: tuple[int, ...],
    is_native: Callable[[str, str], bool],
) -> Iterator[TrainCase]:
    """Every combination, eager before compiled so that first rows come early.

    `devices_of(preset)`, `dtypes_of(device)` and `batch_size_of(preset)` are the defaults. A dtype
    that the device only converts to (`is_native` says no) is swept at the smallest batch alone
    unless batch sizes were asked for: its steps are up to a hundred times slower.
    """
    for preset in options.presets:
        batch_sizes = options.batch_sizes or tuple(
            multiple * batch_size_of(preset) for multiple in batch_multiples
        )
        for compiled in options.compile or compile_modes:
            for device in devices_of(preset):
                for dtype in options.dtypes or dtypes_of(device):
                    whole = options.batch_sizes or is_native(device, dtype)
                    for batch_size in batch_sizes if whole else batch_sizes[:1]:
                        yield TrainCase(preset, device, dtype, batch_size, compiled)
