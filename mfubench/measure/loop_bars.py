"""The bars of a configured loop's iteration, to name those that a change moved."""

from __future__ import annotations

import torch

from mfubench.measure.loop_config import SLOW_STEP_S
from mfubench.measure.profile_rows import operators
from mfubench.measure.profiler_events import ProfileError
from mfubench.measure.profiling import StepProfiler, phased
from mfubench.measure.train_loop import TrainLoop
from mfubench.results.bars import UNEXPLAINED
from mfubench.timing import time_s

TOUCHED_MIB = 512
PLAIN_STEPS, PROFILED_STEPS = 3, 2
"""Of a block; of slow steps one each."""


class LoopBars:
    """Blocks of a profile of one loop, so that two loops can take turns.

    Raises ProfileError when the profiler gives nothing, and for a loop compiled for a CPU: its
    kernels are seen only where the code was compiled to be seen.
    """

    def __init__(self, loop: TrainLoop) -> None:
        self._on_host = loop.device.kind == "cpu"
        if loop.compiled and self._on_host:
            raise ProfileError("the kernels of a loop compiled for a CPU have no bars")

        is_slow = time_s(loop) > SLOW_STEP_S
        self._steps = (1, 1) if is_slow else (PLAIN_STEPS, PROFILED_STEPS)
        self._profiler = StepProfiler(loop, phased(loop))

    def block(self) -> dict[str, float]:
        """Seconds of each bar of one iteration. With what no bar holds (`unexplained`, also below
        0) they add up to the unprofiled iteration."""
        touch_memory()
        plain, profiled = self._steps
        self._profiler.block(plain=plain, profiled=profiled)
        profile = self._profiler.taken()
        bars: dict[str, float] = {}
        for row in operators(profile, on_host=self._on_host):
            bars[row.component] = bars.get(row.component, 0.0) + row.seconds
        bars[UNEXPLAINED] = profile.step_s - sum(bars.values())
        return bars


def touch_memory() -> None:
    """Write to memory and free it. The profiler's events lie between a step's blocks, so that its
    steps take memory that plain ones never do; its first touch would count as the operators' time.
    An allocator that gives memory back to the system takes it anew, here and in plain steps."""
    held = [torch.ones(2**18) for _ in range(TOUCHED_MIB)]
    del held
