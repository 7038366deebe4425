"""The fixture `measure_case`: it times through pytest-benchmark, and ends a test as its case ends.

Nothing else that measures knows pytest.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import TYPE_CHECKING, Concatenate, ParamSpec

import pytest

from mfubench.report.case_line import case_line
from mfubench.results.outcomes import Outcome
from mfubench.results.record import CaseRecord
from mfubench.suite.outcomes import CaseResult
from mfubench.suite.runner import CaseRunner
from mfubench.suite.session import BenchSession
from mfubench.suite.timer import Run

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

P = ParamSpec("P")


class BenchmarkTimer:
    """pytest-benchmark's fixture as a `Timer`; --benchmark-disable disables it."""

    def __init__(self, benchmark: BenchmarkFixture) -> None:
        self._benchmark = benchmark
        self.disabled = bool(benchmark.disabled)
        self.rounds_s: list[float] = []

    def time(self, run: Run, *, rounds: int, before: Run | None = None) -> None:
        """See `Timer.time`."""
        try:
            self._benchmark.pedantic(run, rounds=rounds, iterations=1, setup=before)
        finally:
            if self._benchmark.stats is not None:
                self.rounds_s = list(self._benchmark.stats.stats.data)


def _ends_the_test(
    question: Callable[Concatenate[CaseRunner, P], CaseResult],
) -> Callable[Concatenate[MeasureCase, P], CaseRecord]:
    """A question of the runner as a method of the fixture: what comes out of it ends the test."""

    def asked(self: MeasureCase, /, *args: P.args, **kwargs: P.kwargs) -> CaseRecord:
        __tracebackhide__ = True
        return self.conclude(question(self.runner, *args, **kwargs))

    update_wrapper(asked, question)
    return asked


class MeasureCase:
    """Measures a case for one test function, and keeps its record with the run."""

    train_step = _ends_the_test(CaseRunner.train_step)
    train_loop = _ends_the_test(CaseRunner.train_loop)
    breakdown = _ends_the_test(CaseRunner.breakdown)
    ceiling = _ends_the_test(CaseRunner.ceiling)
    harness = _ends_the_test(CaseRunner.harness)

    def __init__(
        self,
        session: BenchSession,
        benchmark: BenchmarkFixture,
        name: str,
        *,
        gate: dict[str, float] | None = None,
    ) -> None:
        self.session = session
        self.runner = CaseRunner(session, BenchmarkTimer(benchmark), gate=gate)
        self._benchmark = benchmark
        self._name = name
        self._record: CaseRecord | None = None

    def conclude(self, result: CaseResult) -> CaseRecord:
        """Keep the record, and end the test as it says.

        A limit of the machine skips the test; any other outcome but `ok` fails it. An error is
        raised again, with its traceback.
        """
        __tracebackhide__ = True
        record = result.record
        self._keep(record, result.rounds_s)
        if result.error is not None:
            raise result.error
        reason = f"{record.outcome}: {record.outcome_reason}"
        if record.outcome.is_a_limit:
            pytest.skip(reason)
        if record.outcome is not Outcome.OK and not self._benchmark.disabled:
            pytest.fail(reason, pytrace=False)
        return record

    def _keep(self, record: CaseRecord, rounds_s: list[float]) -> None:
        self._record = record
        if self._benchmark.stats is not None:
            self._benchmark.stats.group = record.question
        # Out of pytest-benchmark's tables and comparisons; the rounds stay with the record.
        self._benchmark.has_error = record.outcome is not Outcome.OK
        self.refresh()
        self.session.journal.add(record.as_extra_info(), rounds_s)
        self.session.records.append(record)
        self.session.progress.finish(self._name, case_line(record))

    def refresh(self) -> None:
        """Say in pytest-benchmark's entry what the record says now: the ceiling that a case is held
        against may be measured again, later in the run."""
        if self._record is not None:
            self._benchmark.extra_info.update(self._record.as_extra_info())
