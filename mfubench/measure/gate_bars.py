"""The bars of a case's step, to name the one that moved between two sides."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from mfubench.measure.configured_loop import (
    ConfiguredLoop,
    configured_model,
    configured_optimizer,
)
from mfubench.measure.gpt_workload import GPTWorkload
from mfubench.measure.loop_config import LoopConfig
from mfubench.measure.profiling import operators, profile_step
from mfubench.measure.train_loop import TrainLoop
from mfubench.measure.train_step import TrainStep

WARM_STEPS = 5


@dataclass(frozen=True, slots=True)
class _Configured(GPTWorkload):
    """A workload with the model and the optimizer of a loop's configuration."""

    loop_config: LoopConfig = field(default_factory=LoopConfig)

    def make_model(self) -> nn.Module:
        return configured_model(self.preset, self.loop_config)

    def make_optimizer(self, model: nn.Module, device_type: str) -> torch.optim.Optimizer:
        return configured_optimizer(model, self.preset, self.loop_config)


def bars_of(loop: ConfiguredLoop) -> dict[str, float]:
    """Seconds of each bar of the profiled eager step; with its input pipeline where the case has
    one. Raises ProfileError when the profiler gives nothing."""
    kind: type[TrainStep] = TrainStep if loop.config.loader == "fixed" else TrainLoop
    workload = _Configured(loop.preset, loop.config.batch_size, loop.corpus, loop.config)
    step = kind(workload, loop.device, dtype=loop.config.dtype, compile=False)
    for _ in range(WARM_STEPS):
        step()
    bars: dict[str, float] = {}
    for row in operators(profile_step(step), on_host=loop.device.kind == "cpu"):
        bars[row.component] = bars.get(row.component, 0.0) + row.seconds
    if isinstance(step, TrainLoop):
        step.close()
    return bars
