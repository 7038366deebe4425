"""How fast is your own training script? `pytest benchmarks/ --script "train.py --its-options"`."""

from __future__ import annotations

import pytest
from mfubench_model.presets import PRESETS

from mfubench.plugin.fixture import MeasureCase
from mfubench.script.overhead import measure_overhead


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "script" in metafunc.fixturenames:
        metafunc.parametrize("script", metafunc.config.getoption("script"))


def test_script(measure_case: MeasureCase, script: str) -> None:
    """The script as `mfubench run` measures it, in a process of its own."""
    measure_case.script(script)


@pytest.mark.mfubench(from_sweep="full")
def test_hooks_of_mfubench_run(measure_case: MeasureCase, preset: str, device: str) -> None:
    """What watching costs a step: with the hooks in place and without them, in turn."""
    workload = measure_case.session.gpt_workload(preset, PRESETS[preset].batch_size)
    measure_case.conclude(measure_overhead(measure_case.runner, workload, device=device))
