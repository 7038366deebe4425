"""What share of the machine does a training step use? Data loading, logging, evaluation apart."""

from __future__ import annotations

from mfubench.plugin.fixture import MeasureCase


def test_train_step(
    measure_case: MeasureCase, preset: str, device: str, dtype: str, batch_size: int, compile: bool
) -> None:
    """Forward, backward, clip and optimizer over device × dtype × batch size × compile."""
    workload = measure_case.session.gpt_workload(preset, batch_size)
    measure_case.train_step(workload, device=device, dtype=dtype, compile=compile)
