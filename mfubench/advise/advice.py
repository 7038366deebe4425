"""What a search for a better configuration found, and the rules by which it may recommend one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from msgspec import Struct

from mfubench.advise.learning import Learning
from mfubench.analysis.effect import HELPS, UNCLEAR, WORTH_RATIO, Effect
from mfubench.measure.loop_config import settings_of_variables
from mfubench.results.bars import Bar, BarChange

COMPLETE: Final = "complete"
OUT_OF_BUDGET: Final = "out of budget"
INTERRUPTED: Final = "interrupted"
Ended = Literal["complete", "out of budget", "interrupted"]
NO_BUDGET: Final = "not tried: no budget left for it"
"""Why a knob has no effect in an advice."""
CONTROL_RATIO = 0.10
"""Halves of the baseline's processes that differ by more than this are on a busy machine."""


class Try(Struct, frozen=True, kw_only=True):
    """One knob, alone or on top of others."""

    knob: str
    on_top_of: tuple[str, ...]
    """Others that all processes had, or that half of them had."""
    effect: Effect | None
    reason: str | None
    """Why there is no effect, or why a knob that helps was not kept."""
    kept: bool
    aims_at: tuple[str, ...] = ()
    to_win_ratio: float | None = None
    """Share of an iteration that these bars had to win; None where no profile says so."""
    bars: tuple[BarChange, ...] | None = None
    """Where the time was taken from, measured; None where it was not."""

    @property
    def in_words(self) -> str:
        """What came of it, in a line."""
        upon = f" beside {', '.join(self.on_top_of)}" if self.on_top_of else ""
        what = f"×{self.effect.ratio:.3f} {self.effect.verdict}" if self.effect else None
        found = filter(None, (what, self.reason, "kept" if self.kept else None))
        return f"{self.knob}{upon}: {'; '.join(found)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The found configuration against the baseline once more, over pairs of processes."""

    effect: Effect
    control: Effect
    """Some processes of the baseline against others: no change, measured in the same turns."""

    def refusal_of(self, names: Sequence[str]) -> str | None:
        """Why these may not be recommended together; None where they may."""
        if abs(self.control.ratio - 1) > CONTROL_RATIO:
            return (
                "the machine is too busy to tell: processes of the same baseline differed by "
                f"{abs(self.control.ratio - 1) * 100:.1f} %"
            )
        if self.effect.verdict != HELPS:
            found = f"×{self.effect.ratio:.3f}, {self.effect.verdict}"
            return f"{', '.join(names)}, measured again: {found}"
        return None


class Advice(Struct, frozen=True, kw_only=True):
    """What the search ended with: the body of its document."""

    preset: str | None
    """None of a training script."""
    device: str
    budget_s: float
    spent_s: float
    ended: Ended
    baseline: dict[str, Any]
    """A `LoopConfig` as data; so is `config`. Of a script it is empty: `config` has the variables
    and the settings."""
    config: dict[str, Any]
    knobs: tuple[str, ...]
    """The recommended knobs, empty where nothing that was tried is better."""
    verified: Effect | None
    """The found configuration against the baseline once more."""
    control: Effect | None
    """Some processes of the baseline against others, in the same turns."""
    predicted_ratio: float | None
    """The product of the knobs' gains, each measured alone."""
    learning: Learning | None
    """Of the recommended configuration, where a knob of it changes numerics."""
    refusal: str | None
    """Why a combination that looked better is not recommended."""
    tries: tuple[Try, ...]
    command: str
    """What to type in nanoGPT's folder, or in the script's."""
    changes: tuple[str, ...]
    """What no flag can say, to change in its code."""
    script: str | None = None
    """A training script with its arguments, as typed; None of our own loop."""

    @property
    def what(self) -> str:
        """What was tried."""
        return self.script or str(self.preset)


def to_win(bars: Sequence[Bar], step_s: float) -> dict[str, float]:
    """Each bar's share of the step that can be won, from a breakdown.

    A bar without a floor (data, evaluation) may go altogether. So may the products (`gemm`, the sum
    of their bars): their floor is of their dtype, and a knob may change it.

    >>> data = Bar(name="data", seconds=0.3, floor_s=None)
    >>> gemms = Bar(name="gemm shapes", seconds=15.0, floor_s=15.0, to_win_s=0.0)
    >>> to_win([data, gemms], 30.0)
    {'data': 0.01, 'gemm shapes': 0.0, 'gemm': 0.5}
    """
    found = {
        bar.name: (bar.seconds if bar.to_win_s is None else bar.to_win_s) / step_s for bar in bars
    }
    gemms_s = sum(bar.seconds for bar in bars if bar.name.startswith("gemm"))
    return {**found, "gemm": gemms_s / step_s}


def prospect(aims_at: tuple[str, ...], winnable: Mapping[str, float] | None) -> float | None:
    """The share of an iteration that a knob can win at most; None where nothing bounds it."""
    if winnable is None or not aims_at:
        return None
    return sum(max(0.0, winnable.get(bar, 0.0)) for bar in aims_at)


def hopeless(aims_at: tuple[str, ...], share: float | None) -> str | None:
    """Why a knob need not be tried: its bars do not hold what would be worth it.

    >>> hopeless(("data",), 0.007)
    'not tried: data has 0.7 % of an iteration to win'
    """
    if share is None or share >= WORTH_RATIO / (1 + WORTH_RATIO):
        return None
    names, have = " and ".join(aims_at), "have" if len(aims_at) > 1 else "has"
    return f"not tried: {names} {have} {share * 100:.1f} % of an iteration to win"


def not_among_others(effect: Effect) -> str | None:
    """Why a knob is not kept that was measured among others; None where it helps."""
    if effect.verdict == HELPS:
        return None
    what = "not certain" if effect.verdict == UNCLEAR else "no gain"
    return f"{what} among others: ×{effect.ratio:.3f}"


def settings_of(change: Mapping[str, Any]) -> set[str]:
    """The single settings that a change touches.

    >>> sorted(settings_of({"threads": 1, "environment": {"OMP_WAIT_POLICY": "passive"}}))
    ['OMP_WAIT_POLICY', 'threads']
    """
    names = set(change) - {"environment"}
    return names | settings_of_variables(change.get("environment", {}))
