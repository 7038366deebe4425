"""How a case ends without a result."""

from __future__ import annotations

from mfubench.results.record import Outcome


class CaseEnded(Exception):  # noqa: N818 - an ending, not always an error
    """A case that ends without a result, for a reason that is a result."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason
