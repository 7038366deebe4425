"""Does a configuration learn the same? Validation losses after equal tokens, seed by seed.

A faster step that learns less per token is no advice.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from msgspec import Struct

LEAST_ALLOWED_LOSS = 0.01
"""Losses closer than this are equal however little the seeds differ."""
CLEARLY_WORSE_SPREADS = 3.0


class Curve(Struct, frozen=True, kw_only=True):
    """Losses of one training run."""

    seed: int
    tokens: list[int]
    losses: list[float]
    """Training losses, each the mean since the point before."""
    validation_loss: float
    """After the last token."""

    def __post_init__(self) -> None:
        if len(self.tokens) != len(self.losses):
            raise ValueError(f"Expected {len(self.tokens)} losses, got {len(self.losses)}")


class Learning(Struct, frozen=True, kw_only=True):
    """A configuration beside the baseline, trained on equally many tokens from the same seeds."""

    is_equal: bool
    """Whether the candidate learns as much from the same tokens."""
    cost: float
    """Mean over seeds of the candidate's loss above the baseline's with the same seed."""
    allowed: float
    """The largest cost that counts as equal: one standard deviation over seeds."""
    spread: float
    """Standard deviation of the baseline's validation loss over seeds."""
    tokens: int
    """That the baseline trained on."""
    baseline: list[Curve]
    candidate: list[Curve]
    """A subset of the baseline's seeds, in their order."""

    @property
    def is_clearly_worse(self) -> bool:
        """Whether no further seed is needed to refuse the candidate."""
        return self.cost > CLEARLY_WORSE_SPREADS * self.allowed

    def refusal(self, of: str) -> str | None:
        """Why the candidate is not kept, after the same tokens or steps (`of`); None where it
        learns as much."""
        if self.is_equal:
            return None
        return f"costs loss: {self.cost:+.3f} after the same {of} (allowed: {self.allowed:.3f})"


def learning_of(baseline: Sequence[Curve], candidate: Sequence[Curve]) -> Learning:
    """What a configuration learns, from its curves and the baseline's, at least two.

    >>> def curves(*losses):
    ...     return [Curve(seed=i, tokens=[1], losses=[loss], validation_loss=loss)
    ...             for i, loss in enumerate(losses)]
    >>> three = learning_of(curves(2.50, 2.54, 2.52), curves(2.51, 2.54, 2.53))
    >>> three.is_equal, round(three.cost, 4), round(three.spread, 4)
    (True, 0.0067, 0.02)
    >>> learning_of(curves(2.50, 2.54, 2.52), curves(2.55, 2.58, 2.56)).is_equal
    False
    """
    losses = {curve.seed: curve.validation_loss for curve in baseline}
    spread = statistics.stdev(losses.values())
    cost = statistics.mean(curve.validation_loss - losses[curve.seed] for curve in candidate)
    allowed = max(LEAST_ALLOWED_LOSS, spread)
    return Learning(
        is_equal=cost <= allowed,
        cost=cost,
        allowed=allowed,
        spread=spread,
        tokens=baseline[0].tokens[-1],
        baseline=list(baseline),
        candidate=list(candidate),
    )
