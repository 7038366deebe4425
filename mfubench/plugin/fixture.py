"""The fixture `measure_case`: it times through pytest-benchmark, and ends a test as its case ends.

Nothing else that measures knows pytest.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import pytest

from mfubench.ranks.measure.case import measure_ranks
from mfubench.ranks.rules.config import RanksConfig
from mfubench.report.case_line import case_line
from mfubench.results.outcomes import Outcome
from mfubench.results.record import CaseRecord
from mfubench.script.in_pytest import run_script
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

    def time(self, run: Run, *, rounds: int, calls: int = 1, before: Run | None = None) -> None:
        """See `Timer.time`. pytest-benchmark keeps its rounds per call, too."""
        try:
            self._benchmark.pedantic(run, rounds=rounds, iterations=calls, setup=before)
        finally:
            if self._benchmark.stats is not None:
                self.rounds_s = list(self._benchmark.stats.stats.data)

    def replay(self, rounds_s: list[float]) -> None:
        """Give pytest-benchmark rounds that were timed elsewhere."""
        if self.disabled or not rounds_s:
            return
        benchmark: Any = self._benchmark
        benchmark.stats = benchmark._make_stats(1)
        for seconds in rounds_s:
            benchmark.stats.update(seconds)
        self.rounds_s = list(rounds_s)


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
        self._timer = BenchmarkTimer(benchmark)
        self.runner = CaseRunner(session, self._timer, gate=gate)
        self._benchmark = benchmark
        self._name = name
        self._record: CaseRecord | None = None

    def script(self, typed: str) -> CaseRecord:
        """Run a training script as `mfubench run` does, in a process of its own; `typed` is the
        script and its arguments. Its record and rounds are those of this test."""
        __tracebackhide__ = True
        self.session.progress.phase(f"running {typed}")
        result = run_script(typed, self.session.machine_dir.parent)
        self._timer.replay(result.rounds_s if result.record.outcome is Outcome.OK else [])
        return self.conclude(result)

    def ranks(self, config: RanksConfig, ranks: int) -> CaseRecord:
        """Train on many ranks below torchrun's agent. The rounds of this test are the steps that
        they trained together."""
        __tracebackhide__ = True
        result = measure_ranks(self.runner, config, ranks)
        self._timer.replay(result.rounds_s if result.record.outcome is Outcome.OK else [])
        return self.conclude(result)

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
