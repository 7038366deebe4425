"""What does training on several ranks cost? Efficiency as contention x communication x skew."""

from __future__ import annotations

import pytest

from mfubench.plugin.fixture import MeasureCase
from mfubench.ranks.measure.sweep import asked
from mfubench.results.case_id import CaseId, Scaling, Strategy


@pytest.mark.mfubench(from_sweep="full", few=True)
def test_ranks(
    measure_case: MeasureCase,
    preset: str,
    device: str,
    dtype: str,
    batch_size: int,
    compile: bool,
    ranks: int,
    strategy: Strategy,
    scaling: Scaling,
) -> None:
    """nanoGPT's step with DDP or fully_shard, below torchrun's own agent on this machine."""
    case = CaseId(preset=preset, device=device, dtype=dtype, batch_size=batch_size, compile=compile)
    measure_case.ranks(asked(measure_case.session, case, strategy, scaling), ranks)
