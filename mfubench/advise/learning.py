"""Does a configuration learn the same? Validation losses after equal tokens, seed by seed.

A faster step that learns less per token is no advice.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

LEAST_ALLOWED_LOSS = 0.01
"""Losses closer than this are equal however little the seeds differ."""
CLEARLY_WORSE_SPREADS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Losses of one training run."""

    seed: int
    tokens: list[int]
    losses: list[float]
    """Training losses, each the mean since the point before."""
    validation_loss: float
    """After the last token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """A configuration beside the baseline, trained on equally many tokens from the same seeds."""

    baseline: list[Curve]
    candidate: list[Curve]
    """A subset of the baseline's seeds, in their order."""

    @property
    def spread(self) -> float:
        """Standard deviation of the baseline's validation loss over seeds."""
        return statistics.stdev(curve.validation_loss for curve in self.baseline)

    @property
    def cost(self) -> float:
        """Mean over seeds of the candidate's loss above the baseline's with the same seed."""
        baseline = {curve.seed: curve.validation_loss for curve in self.baseline}
        return statistics.mean(c.validation_loss - baseline[c.seed] for c in self.candidate)

    @property
    def allowed(self) -> float:
        """The largest cost that counts as equal: one standard deviation over seeds."""
        return max(LEAST_ALLOWED_LOSS, self.spread)

    @property
    def is_equal(self) -> bool:
        """Whether the candidate learns as much from the same tokens.

        >>> three = learning_of([2.50, 2.54, 2.52], [2.51, 2.54, 2.53])
        >>> three.is_equal, round(three.cost, 4), round(three.spread, 4)
        (True, 0.0067, 0.02)
        >>> learning_of([2.50, 2.54, 2.52], [2.55, 2.58, 2.56]).is_equal
        False
        """
        return self.cost <= self.allowed

    @property
    def is_clearly_worse(self) -> bool:
        """Whether no further seed is needed to refuse the candidate."""
        return self.cost > CLEARLY_WORSE_SPREADS * self.allowed

    def as_data(self) -> dict[str, Any]:
        """JSON types."""
        return {
            "is_equal": self.is_equal,
            "cost": self.cost,
            "allowed": self.allowed,
            "spread": self.spread,
            "tokens": self.baseline[0].tokens[-1],
            "baseline": [asdict(curve) for curve in self.baseline],
            "candidate": [asdict(curve) for curve in self.candidate],
        }


def learning_of(baseline: Sequence[float], candidate: Sequence[float]) -> Learning:
    """From validation losses alone, seeds in order."""

    def curves(losses: Sequence[float]) -> list[Curve]:
        return [
            Curve(seed=seed, tokens=[1], losses=[loss], validation_loss=loss)
            for seed, loss in enumerate(losses)
        ]

    return Learning(baseline=curves(baseline), candidate=curves(candidate))
