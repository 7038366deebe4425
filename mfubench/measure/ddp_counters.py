"""DDP's own counters of what its messages take of a backward pass."""

from __future__ import annotations

from typing import Any

EVERY_STEP, TORCHS_OWN_RATE = 1, 100


def count_once_in(ddp: Any, steps: int) -> None:
    """Have DDP read its clock in one of so many steps."""
    ddp._set_ddp_runtime_logging_sample_rate(steps)


def communication_s(ddp: Any) -> tuple[float, float]:
    """Seconds of messages, and of them those beside the backward pass's computing, of the last
    iteration that the counters have; zeros before there is one. Nanoseconds there."""
    data = ddp._get_ddp_logging_data()
    spent, beside = (
        int(data.get(name, 0))
        for name in ("backward_comm_time", "backward_compute_comm_overlap_time")
    )
    return spent / 1e9, beside / 1e9
