"""DDP's counters of a script's steps, with a model that says what it is told to."""

from __future__ import annotations

import pytest

from mfubench.script import ddp
from mfubench.script.ddp import DDPCounters


class Model:
    """Counts anew only in steps in which it reads its clock, as DDP does."""

    def __init__(self) -> None:
        self.every = 100
        self.counted: dict[str, int] = {}

    def _set_ddp_runtime_logging_sample_rate(self, every: int) -> None:
        self.every = every

    def _get_ddp_logging_data(self) -> dict[str, int]:
        return self.counted

    def step(self, spent_ms: int, beside_ms: int) -> None:
        if self.every == 1:
            self.counted = {
                "backward_comm_time": spent_ms * 10**6,
                "backward_compute_comm_overlap_time": beside_ms * 10**6,
            }


def test_every_step_counts_again_after_the_clock_gave_way(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model()
    monkeypatch.setattr(ddp, "_models", lambda: [model])
    counters = DDPCounters()
    counters.start()
    model.step(spent_ms=10, beside_ms=4)
    counters.step_ended()
    assert (counters.exposed_s, counters.hidden_s) == pytest.approx((0.006, 0.004))
    counters.stop()  # the script starts a profiler of its own
    assert model.every == 100
    for _ in range(2):
        counters.start()
        model.step(spent_ms=30, beside_ms=10)
        counters.step_ended()
    assert (counters.exposed_s, counters.hidden_s) == pytest.approx((0.020, 0.010))


def test_without_ddp_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ddp, "_models", list)
    counters = DDPCounters()
    counters.start()
    counters.step_ended()
    assert counters.exposed_s is None
    assert counters.hidden_s is None
