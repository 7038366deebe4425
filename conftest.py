"""Loads the suite's pytest plugin and Hypothesis profiles, and runs the whole of the tests on
several cores."""

from __future__ import annotations

import os

import pytest

pytest_plugins = ["mfubench.plugin", "pytester"]

collect_ignore = ["benchmarks/planted_in_script.py"]
"""A script that is run, and never imported, which would run it too."""
MOST_PROCESSES = 4
"""Each imports torch for itself."""
TEST_TIMEOUT_S = 300.0
"""Far above the slowest test on a busy machine."""

try:
    from hypothesis import settings
except ImportError:  # a benchmark run does not need it
    pass
else:
    settings.register_profile("default", deadline=None, print_blob=True)
    settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True)
    settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Plain `pytest` runs the tests in parallel, and stops one that hangs.

    Whatever is named runs in one process, as it starts sooner; `-n` and `--timeout` say otherwise.
    The options are set here and not in pyproject.toml, where a benchmark run would meet them, with
    or without the plugins that they belong to.
    """
    is_worker = hasattr(config, "workerinput")  # it would start workers of its own
    if is_worker or config.args_source != pytest.Config.ArgsSource.TESTPATHS:
        return
    option = config.option
    if getattr(option, "numprocesses", 0) is None and not option.collectonly:
        option.numprocesses = min(MOST_PROCESSES, os.cpu_count() or 1)
        option.dist = "loadfile"  # the tests of a file share what they have set up
        # One thread for each, and for all that they start: more would get in each other's way.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    if getattr(option, "timeout", 0) is None:
        option.timeout = TEST_TIMEOUT_S
        option.timeout_method = "thread"  # a signal would wait for torch to come back
