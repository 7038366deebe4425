"""Where does every lost millisecond go? An account that adds up, checked by ablation."""

from __future__ import annotations

import pytest

from mfubench.plugin.fixture import MeasureCase


@pytest.mark.mfubench(from_sweep="default", few=True)
def test_breakdown(
    measure_case: MeasureCase, preset: str, device: str, dtype: str, batch_size: int, compile: bool
) -> None:
    """The training step: from the machine's peak down to this step, bar by bar."""
    workload = measure_case.session.gpt_workload(preset, batch_size)
    measure_case.breakdown(workload, device=device, dtype=dtype, compile=compile)


@pytest.mark.mfubench(from_sweep="default", few=True)
def test_breakdown_of_the_loop(
    measure_case: MeasureCase, preset: str, device: str, dtype: str, batch_size: int, compile: bool
) -> None:
    """An iteration as nanoGPT runs it: the step, and data, logging, evaluation and checkpoint."""
    workload = measure_case.session.gpt_workload(preset, batch_size)
    measure_case.breakdown(workload, device=device, dtype=dtype, compile=compile, loop=True)
