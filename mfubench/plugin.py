"""pytest's hooks for the suite. Each one delegates; what happens is in `mfubench.suite`."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from mfubench.suite.options import add_options

if TYPE_CHECKING:
    from mfubench.suite.measure_case import MeasureCase
    from mfubench.suite.run import SuiteRun

RUN: pytest.StashKey[SuiteRun] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Before pytest-benchmark reads its own options: point it at this machine's results."""
    from mfubench.suite.run import SuiteRun, measures

    config.addinivalue_line(
        "markers",
        "mfubench(from_sweep, few, floor, tolerance): the least sweep that asks this question; "
        "few=True where the preset's own batch size and few compile modes are enough; the gate's "
        "limits for its cases.",
    )
    if measures(config):
        config.stash[RUN] = SuiteRun(config)


def pytest_sessionstart(session: pytest.Session) -> None:
    if run := session.config.stash.get(RUN, None):
        run.open()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if run := metafunc.config.stash.get(RUN, None):
        run.parametrize(metafunc)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if run := config.stash.get(RUN, None):
        run.choose(items)


def pytest_collection_finish(session: pytest.Session) -> None:
    if run := session.config.stash.get(RUN, None):
        run.announce(session)


@pytest.fixture
def measure_case(request: pytest.FixtureRequest, benchmark: Any) -> MeasureCase:
    """Measures one case: prepares, warms, times through pytest-benchmark, guards and accounts."""
    run = request.config.stash.get(RUN, None)
    if run is None:
        pytest.skip("nothing is timed here; to measure, type: pytest benchmarks/")
    return run.measure_case(benchmark, request.node)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    if run := item.config.stash.get(RUN, None):
        run.start_case(item)
    return (yield)


def pytest_report_teststatus(
    report: pytest.CollectReport | pytest.TestReport, config: pytest.Config
) -> tuple[str, str, str] | None:
    run = config.stash.get(RUN, None)
    return run.letter(report) if run is not None else None


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info(config: pytest.Config) -> dict[str, Any] | None:
    run = config.stash.get(RUN, None)
    return run.machine_info() if run is not None else None


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    if run := config.stash.get(RUN, None):
        run.complete_json(output_json)


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """Around pytest-benchmark's own: what it does not save, or fails to, is saved here.

    Neither tryfirst nor trylast: inside the terminal's wrapper, whose summary tells what was saved.
    """
    run = session.config.stash.get(RUN, None)
    if run is None:
        return (yield)
    run.before_saving(session)
    try:
        result = yield
    except OSError as error:
        run.rescue(error)
        result = None
    run.finish(session)
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if run := config.stash.get(RUN, None):
        run.summarize(terminalreporter)


def pytest_unconfigure(config: pytest.Config) -> None:
    if run := config.stash.get(RUN, None):
        run.close()
