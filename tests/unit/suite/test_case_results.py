"""Whatever happens inside a case, its record comes back, and the error that broke it off."""

from __future__ import annotations

import io
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mfubench.measure.gpt_workload import GPTWorkload
from mfubench.pairs.side import SideError
from mfubench.results.case_id import CaseId
from mfubench.results.outcomes import Outcome
from mfubench.results.record import CaseRecord
from mfubench.suite.outcomes import CaseEnded, CaseResult
from mfubench.suite.progress import Progress
from mfubench.suite.runner import CaseRunner
from mfubench.suite.session import BenchSession
from mfubench.suite.single import StreamScreen
from mfubench.suite.sweep import SweepOptions
from mfubench.suite.timer import PlainTimer

ASKED = CaseId(question="claim", preset="tiny", device="cpu")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[BenchSession]:
    made = BenchSession(SweepOptions(), Progress(StreamScreen(io.StringIO())), machine_dir=tmp_path)
    yield made
    made.close()


def asked(session: BenchSession, run: Callable[[CaseRecord], None]) -> CaseResult:
    """The result of a case in which `run` happens."""
    runner = CaseRunner(session, PlainTimer())
    record = runner.new_record(ASKED)
    return runner.answer(record, lambda: run(record))


def raising(error: BaseException) -> Callable[[CaseRecord], None]:
    def run(record: CaseRecord) -> None:
        record.mfu = 0.5
        raise error

    return run


def test_a_case_that_ends_well_has_its_rounds(session: BenchSession) -> None:
    result = asked(session, lambda record: None)
    record = result.ok()
    assert (record.case_id, record.outcome) == ("claim/tiny/cpu", Outcome.OK)
    assert record.rounds == len(result.rounds_s) == 1


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (CaseEnded(Outcome.UNSUPPORTED, "no such kernel"), Outcome.UNSUPPORTED, "no such kernel"),
        (CaseEnded(Outcome.INVALID, "too fast"), Outcome.INVALID, "too fast"),
        (SideError(Outcome.ERROR, "it died"), Outcome.ERROR, "it died"),
        (MemoryError(), Outcome.OUT_OF_MEMORY, "MemoryError"),
    ],
)
def test_an_outcome_says_all_and_carries_no_error(
    session: BenchSession, error: Exception, outcome: Outcome, reason: str
) -> None:
    result = asked(session, raising(error))
    record = result.recorded()
    assert (record.outcome, record.outcome_reason) == (outcome, reason)
    assert record.mfu is None, "a rate of a case that did not end well was kept"
    with pytest.raises(CaseEnded, match=reason) as ended:
        result.ok()
    assert ended.value.outcome is outcome


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(ZeroDivisionError("a bug"), Outcome.ERROR), (KeyboardInterrupt(), Outcome.INTERRUPTED)],
)
def test_a_fault_and_an_interrupt_come_with_the_record(
    session: BenchSession, error: BaseException, outcome: Outcome
) -> None:
    result = asked(session, raising(error))
    assert result.record.outcome is outcome
    assert result.record.outcome_reason
    for read in (result.recorded, result.ok):
        with pytest.raises(type(error)) as raised:
            read()
        assert raised.value is error
        assert "raise error" in {frame.line for frame in traceback.extract_tb(error.__traceback__)}


def test_rounds_before_an_end_are_kept(session: BenchSession) -> None:
    runner = CaseRunner(session, PlainTimer())
    record = runner.new_record(ASKED)
    calls: list[str] = []

    def run() -> None:
        calls.append("run")
        if calls.count("run") == 3:
            raise KeyboardInterrupt

    with runner.recorded(record) as result:
        runner.time_rounds(record, run, 9, before=lambda: calls.append("before"))
    assert calls == ["before", "run"] * 3
    assert len(result.rounds_s) == 2
    assert record.rounds_s == result.rounds_s


def test_with_timing_switched_off_nothing_is_asked(session: BenchSession) -> None:
    timer = PlainTimer()
    timer.disabled = True
    runner = CaseRunner(session, timer)
    result = runner.answer(runner.new_record(ASKED), lambda: pytest.fail("it was asked"))
    assert result.record.outcome is Outcome.UNAVAILABLE
    assert "--benchmark-disable" in str(result.record.outcome_reason)


def test_an_absent_device_is_a_record(session: BenchSession, tiny_workload: GPTWorkload) -> None:
    runner = CaseRunner(session, PlainTimer())
    result = runner.train_step(tiny_workload, device="cuda:99", dtype="float32", compile=False)
    assert result.record.case_id == "train-step/tiny/cuda:99-float32-b4-eager"
    assert result.record.outcome is Outcome.UNAVAILABLE


def test_what_cases_share_is_made_once_and_closed_with_the_run(session: BenchSession) -> None:
    made: list[Shared] = []

    class Shared:
        closed = False

        def __init__(self) -> None:
            made.append(self)

        def close(self) -> None:
            self.closed = True

    assert session.shared("one", Shared) is session.shared("one", Shared)
    assert session.shared("other", Shared) is made[1]
    session.close()
    assert [one.closed for one in made] == [True, True]
