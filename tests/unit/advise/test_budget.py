"""What the parts of a search take, by a bench that only says how long its step is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from mfubench.advise.budget import Budget
from mfubench.measure.loop_config import LoopConfig


def test_what_a_verification_takes_is_told_by_the_step_of_the_baseline() -> None:
    plans = []
    for step_s in (0.04, 0.2):
        bench: Any = SimpleNamespace(
            base=LoopConfig(),
            base_step_s=lambda step_s=step_s: step_s,
            plain_baselines=lambda **_: [],
            processes_to_start=lambda config: 1,
        )
        plans.append(Budget(bench, 120.0).plan(LoopConfig()))
    assert plans == [(3, 45), (1, 45)], "batches of pairs, and rounds of each"


def test_a_design_takes_longer_where_processes_are_no_forks_and_where_each_compiles() -> None:
    def seconds(base: LoopConfig, *, forked: bool) -> float:
        bench: Any = SimpleNamespace(base=base)
        return Budget(bench, 300.0).factorial_s(5, forked=forked)

    cpu, cuda = LoopConfig(), LoopConfig(device="cuda", compile="default")
    times = [seconds(cpu, forked=True), seconds(cpu, forked=False), seconds(cuda, forked=True)]
    assert times == sorted(set(times))
