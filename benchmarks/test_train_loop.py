"""How long does training take? The loop as nanoGPT runs it, data and logging in each iteration."""

from __future__ import annotations

import pytest

from mfubench.plugin.fixture import MeasureCase


@pytest.mark.mfubench(few=True)
def test_train_loop(
    measure_case: MeasureCase, preset: str, device: str, dtype: str, batch_size: int, compile: bool
) -> None:
    """One iteration per round; evaluation and checkpoint are timed apart and amortised."""
    workload = measure_case.session.gpt_workload(preset, batch_size)
    measure_case.train_loop(workload, device=device, dtype=dtype, compile=compile)
