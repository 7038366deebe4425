"""What is measured: one file per question. Installed as the package `mfubench_benchmarks`.

`pytest benchmarks/` runs them in a checkout, `pytest --pyargs mfubench_benchmarks` anywhere else.
"""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """Load the suite's options into a run that names this package, and into no other.

    This module is an entry point of pytest, so that every pytest run of the environment calls this.
    """
    if any(argument.partition(":")[0].split(".")[0] == "mfubench_benchmarks" for argument in args):
        early_config.pluginmanager.import_plugin("mfubench.plugin")
