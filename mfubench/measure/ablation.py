"""Take one component out, and see what the step saves: the check of a breakdown's bars.

What takes a component's place keeps every shape and does no work, so that the rest of the step is
the same. Both steps live side by side and take turns.
"""

from __future__ import annotations

import statistics
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from mfubench.analysis import components
from mfubench.measure.profiling import profile_step
from mfubench.measure.train_loop import TrainLoop
from mfubench.measure.train_step import TrainStep
from mfubench.measure.workload import Batch
from mfubench.timing import time_s

STEP_ABLATIONS = ("attention", "activation", "optimizer")
LOOP_ABLATIONS = ("data",)


class _NoAttention(torch.autograd.Function):
    """Values pass as they are, and every input gets the output's gradient: shapes, no work."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor, Tensor]:
        gradient: Tensor = gradients[0]
        return gradient, gradient, gradient


def _no_attention(query: Tensor, key: Tensor, value: Tensor, **_: object) -> Tensor:
    result: Tensor = _NoAttention.apply(query, key, value)  # type: ignore[no-untyped-call]
    return result


class WithoutAttention(TrainStep):
    """The step with attention replaced by its values."""

    def forward(self, batch: Batch) -> Tensor:
        with mock.patch.object(nn.functional, "scaled_dot_product_attention", _no_attention):
            return super().forward(batch)


class WithoutActivation(TrainStep):
    """The step with every activation module replaced by the identity."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        for module in self.model.modules():
            for name, child in module.named_children():
                is_leaf = not any(True for _ in child.children())
                if is_leaf and components.of_module(child) == components.ACTIVATION:
                    setattr(module, name, nn.Identity())


class WithoutOptimizer(TrainStep):
    """The step with gradients dropped and never applied."""

    def optimize(self) -> None:
        if self._scaler is not None:
            self._scaler.update()  # else it refuses to unscale the next step's gradients
        self.optimizer.zero_grad(set_to_none=True)


class WithoutData(TrainLoop):
    """The loop on one batch for ever."""

    def advance(self) -> None:
        pass


ABLATED: dict[str, type[TrainStep]] = {
    "attention": WithoutAttention,
    "activation": WithoutActivation,
    "optimizer": WithoutOptimizer,
    "data": WithoutData,
}


def saving_s(base: TrainStep, component: str, *, dtype: str, pairs: int) -> float:
    """Median over pairs of the seconds that `base` saves without the component (eager).

    On a device with a queue a bar holds kernels, so that kernels are compared: a step that waits
    for its launches saves launches. Data is what the host does, and the step's time is compared.
    """
    ablated = ABLATED[component](base.workload, base.device, dtype=dtype, compile=False)
    try:
        if base.device.has_queue and component not in LOOP_ABLATIONS:
            return profile_step(base).device_busy_s - profile_step(ablated).device_busy_s
        for _ in range(5):
            ablated()
            base()
        differences = []
        for pair in range(pairs):
            # ABBA: whatever order does to a step, it does to both.
            first, second = (base, ablated) if pair % 2 else (ablated, base)
            times = {first: time_s(first), second: time_s(second)}
            differences.append(times[base] - times[ablated])
        return statistics.median(differences)
    finally:
        if isinstance(ablated, TrainLoop):
            ablated.close()
