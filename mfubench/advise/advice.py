"""What a search for a better configuration found, and the rules by which it may recommend one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mfubench.advise.learning import Learning
from mfubench.analysis.bar_changes import BarChange
from mfubench.analysis.effect import HELPS, WORTH_RATIO, Effect

COMPLETE, OUT_OF_BUDGET, INTERRUPTED = "complete", "out of budget", "interrupted"
CONTROL_RATIO = 0.10
"""Halves of the baseline's processes that differ by more than this are on a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One knob, alone or on top of others."""

    knob: str
    on_top_of: tuple[str, ...] = ()
    effect: Effect | None = None
    reason: str | None = None
    """Why there is no effect, or why a knob that helps was not kept."""
    kept: bool = False
    aims_at: tuple[str, ...] = ()
    to_win_ratio: float | None = None
    """Share of an iteration that these bars had to win; None where no profile says so."""
    bars: tuple[BarChange, ...] | None = None
    """Where the time was taken from, measured; None where it was not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The found configuration against the baseline once more, over pairs of processes."""

    effect: Effect
    control: Effect
    """Some processes of the baseline against others: no change, measured in the same turns."""

    @property
    def refusal(self) -> str | None:
        """Why the configuration may not be recommended; None where it may."""
        if abs(self.control.ratio - 1) > CONTROL_RATIO:
            return (
                "the machine is too busy to tell: processes of the same baseline differed by "
                f"{abs(self.control.ratio - 1) * 100:.1f} %"
            )
        if self.effect.verdict != HELPS:
            return f"measured again it is ×{self.effect.ratio:.3f}: {self.effect.verdict}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What the search ended with."""

    knobs: tuple[str, ...] = ()
    """The recommended knobs, empty where nothing that was tried is better."""
    verification: Verification | None = None
    predicted_ratio: float | None = None
    """The product of the knobs' gains, each measured alone."""
    learning: Learning | None = None
    """Of the recommended configuration, where a knob of it changes numerics."""
    baseline: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    tries: tuple[Try, ...] = ()
    refusal: str | None = None
    """Why a combination that looked better is not recommended."""
    ended: str = COMPLETE
    budget_s: float = 0.0
    spent_s: float = 0.0

    def as_data(self) -> dict[str, Any]:
        """JSON types, as docs/results.md describes them."""
        verification = self.verification
        return {
            "budget_s": self.budget_s,
            "spent_s": self.spent_s,
            "ended": self.ended,
            "baseline": dict(self.baseline),
            "config": dict(self.config),
            "knobs": list(self.knobs),
            "verified": None if verification is None else asdict(verification.effect),
            "control": None if verification is None else asdict(verification.control),
            "predicted_ratio": self.predicted_ratio,
            "learning": None if self.learning is None else self.learning.as_data(),
            "refusal": self.refusal,
            "tries": [asdict(one) for one in self.tries],
        }


def to_win(account: Mapping[str, Any] | None) -> dict[str, float] | None:
    """Each bar's share of the step that can be won, from a stored breakdown.

    A bar without a floor (data, evaluation) may go altogether. So may the products (`gemm`, the sum
    of their bars): their floor is of their dtype, and a knob may change it.

    >>> bars = [
    ...     {"name": "data", "seconds": 0.3, "to_win_s": None},
    ...     {"name": "gemm shapes", "seconds": 15.0, "to_win_s": 0.0},
    ... ]
    >>> to_win({"step_s": 30.0, "bars": bars})
    {'data': 0.01, 'gemm shapes': 0.0, 'gemm': 0.5}
    """
    if account is None:
        return None
    step_s = account["step_s"]
    found = {
        bar["name"]: (bar["seconds"] if bar["to_win_s"] is None else bar["to_win_s"]) / step_s
        for bar in account["bars"]
    }
    gemms_s = sum(bar["seconds"] for bar in account["bars"] if bar["name"].startswith("gemm"))
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


def settings_of(change: Mapping[str, Any]) -> set[str]:
    """The single settings that a change touches; environment variables one by one.

    >>> sorted(settings_of({"threads": 1, "environment": {"OMP_WAIT_POLICY": "passive"}}))
    ['OMP_WAIT_POLICY', 'threads']
    """
    names = set(change) - {"environment"}
    return names | set(change.get("environment", {}))
