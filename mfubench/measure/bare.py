"""The step as anyone would write it by hand, to hold the harness against."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mfubench.measure.train_step import TrainStep
from mfubench.measure.workload import fixed_batches


def bare_step(step: TrainStep) -> Callable[[], None]:
    """A plain loop body over the same model, parameters and optimizer as `step` (float32, eager).

    The objects are shared so that a pair differs in nothing but the code around them.
    """
    model, optimizer = step.model, step.optimizer
    parameters = list(model.parameters())
    max_norm = step.workload.loop.grad_clip
    loss_of = step.workload.loss
    batch = next(iter(fixed_batches(step.workload, step.device.torch_device, 1)))
    device = step.device

    def run() -> None:
        loss = loss_of(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        device.synchronise()

    return run
