"""The bars of a case's step, to name the one that moved between two sides."""

from __future__ import annotations

from mfubench.measure.configured_loop import ConfiguredLoop
from mfubench.measure.gpt_workload import GPTWorkload
from mfubench.measure.profiling import operators, profile_step
from mfubench.measure.train_loop import TrainLoop
from mfubench.measure.train_step import TrainStep

WARM_STEPS = 5


def bars_of(loop: ConfiguredLoop) -> dict[str, float]:
    """Seconds of each bar of the profiled eager step; with its input pipeline where the case has
    one. Raises ProfileError when the profiler gives nothing."""
    kind: type[TrainStep] = TrainStep if loop.config.loader == "fixed" else TrainLoop
    workload = GPTWorkload(loop.preset, loop.config.batch_size, loop.corpus)
    step = kind(workload, loop.device, dtype=loop.config.dtype, compile=False)
    for _ in range(WARM_STEPS):
        step()
    bars: dict[str, float] = {}
    for row in operators(profile_step(step), on_host=loop.device.kind == "cpu"):
        bars[row.component] = bars.get(row.component, 0.0) + row.seconds
    if isinstance(step, TrainLoop):
        step.close()
    return bars
