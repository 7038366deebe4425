"""What can this machine sustain? The ceilings that every share is held against."""

from __future__ import annotations

import pytest

from mfubench.hardware import ceilings
from mfubench.plugin.fixture import MeasureCase


def test_gemm(measure_case: MeasureCase, device: str, dtype: str) -> None:
    """Matrix multiplication, searched over shapes, per dtype."""
    budget_s = measure_case.session.options.plan.ceiling_budget_s
    measure_case.ceiling(
        "gemm",
        device=device,
        dtype=dtype,
        make=lambda target: ceilings.best_gemm(target, dtype, budget_s=budget_s),
    )


@pytest.mark.parametrize("kind", ceilings.BANDWIDTH_KERNELS)
def test_bandwidth(measure_case: MeasureCase, device: str, kind: str) -> None:
    """Memory bandwidth: copy and STREAM's triad."""
    measure_case.ceiling(
        kind,
        device=device,
        dtype=None,
        make=lambda target: (ceilings.BANDWIDTH_KERNELS[kind](target),),
    )


def test_dispatch(measure_case: MeasureCase, device: str) -> None:
    """What an operator costs before it does any work: dispatch on a CPU, launch on a GPU."""
    measure_case.ceiling(
        "dispatch",
        device=device,
        dtype=None,
        make=lambda target: (ceilings.dispatch_kernel(target),),
    )
