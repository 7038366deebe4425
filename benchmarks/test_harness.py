"""Does the bench disturb what it measures? The step through it and in a bare loop, in turn."""

from __future__ import annotations

import pytest
from mfubench_model.presets import PRESETS

from mfubench.plugin.fixture import MeasureCase


@pytest.mark.mfubench(from_sweep="default")
def test_harness(measure_case: MeasureCase, preset: str, device: str) -> None:
    """The timed step is to be within 1 % of the same step in a bare loop."""
    workload = measure_case.session.gpt_workload(preset, PRESETS[preset].batch_size)
    measure_case.harness(workload, device=device)
