"""How a case ends: with a record, whatever happens."""

from __future__ import annotations

from dataclasses import dataclass, field

from mfubench.results.outcomes import Outcome
from mfubench.results.record import CaseRecord


class CaseEnded(Exception):  # noqa: N818 - an ending, not always an error
    """A case that ends without a result, for a reason that is a result."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


@dataclass(slots=True)
class CaseResult:
    """The record of a case that has ended, its rounds, and the error that broke it off."""

    record: CaseRecord
    rounds_s: list[float] = field(default_factory=list)
    """Seconds of each timed round, of a case that was broken off as well."""
    error: BaseException | None = None
    """An interrupt or a fault. None where the case ended `ok`, or the record's reason says all."""

    def recorded(self) -> CaseRecord:
        """The record, whatever its outcome. Raises the error that broke the case off."""
        if self.error is not None:
            raise self.error
        return self.record

    def ok(self) -> CaseRecord:
        """The record of a case that ended `ok`. Raises CaseEnded with any other outcome, and the
        error that broke the case off."""
        record = self.recorded()
        if record.outcome is not Outcome.OK:
            raise CaseEnded(record.outcome, record.outcome_reason or "")
        return record
