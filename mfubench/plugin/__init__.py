"""What pytest loads: the options, the fixture, and the hooks of a run that measures."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from mfubench.plugin.options import add_options
from mfubench.plugin.screen import STDOUT

if TYPE_CHECKING:
    from mfubench.plugin.fixture import MeasureCase
    from mfubench.plugin.run import SuiteRun

RUN: pytest.StashKey[SuiteRun] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Before pytest-benchmark reads its own options: point it at this machine's results."""
    from mfubench.plugin.named import measures
    from mfubench.plugin.run import SuiteRun

    config.addinivalue_line(
        "markers",
        "mfubench(from_sweep, few, floor, tolerance): the least sweep that asks this question; "
        "few=True where the preset's own batch size and few compile modes are enough; the gate's "
        "limits for its cases.",
    )
    if measures(config):
        if config.option.json:  # pytest's terminal is made after this, and keeps what it is given
            config.stash[STDOUT] = sys.stdout
            config.add_cleanup(partial(setattr, sys, "stdout", sys.stdout))
            sys.stdout = sys.stderr
        run = config.stash[RUN] = SuiteRun(config)
        config.pluginmanager.register(run, "mfubench-run")


@pytest.fixture
def measure_case(request: pytest.FixtureRequest, benchmark: Any) -> MeasureCase:
    """Measures one case: prepares, warms, times through pytest-benchmark, guards and accounts."""
    run = request.config.stash.get(RUN, None)
    if run is None:
        pytest.skip("nothing is timed here; to measure, type: pytest benchmarks/")
    return run.measure_case(benchmark, request.node)
