"""What the bench asks of anything it can train.

The sweep, the timing and the accounting see a `Workload`: a model, batches, a loss, and what a
step must cost. `gpt_workload.py` is the one that ships; a user's own model is another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from mfubench.analysis.account import ComponentCost

Batch = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """What one training step must do, whatever runs it."""

    tokens: int
    model_flops: int
    """Forward and backward FLOPs that the mathematics needs; no recomputation."""
    hardware_flops: int | None = None
    """FLOPs that the kernels execute, recomputation included."""
    palm_flops: int | None = None
    """The same step by the convention of the PaLM paper's appendix B."""
    nanogpt_flops: int | None = None
    """The same step by the formula in nanoGPT's `estimate_mfu`."""
    source: str = "formula"
    memory_bytes: int | None = None
    """Predicted peak of parameters, gradients, optimizer state and activations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """How often the training loop does anything but train, in nanoGPT's words."""

    max_iters: int
    eval_interval: int
    eval_iters: int
    log_interval: int
    learning_rate: float
    min_learning_rate: float
    warmup_iters: int
    grad_clip: float


class Workload(Protocol):
    """A model, its batches, its loss and its cost."""

    @property
    def name(self) -> str: ...

    @property
    def batch_size(self) -> int:
        """Sequences (or samples) per step."""

    @property
    def block_size(self) -> int | None:
        """Tokens per sequence, None where there are no sequences."""

    @property
    def loop(self) -> LoopSettings: ...

    def cost(self, dtype: str, device_type: str) -> StepCost:
        """What a step must do, by closed form or by count; memory may differ between devices."""

    def component_costs(self, dtype: str) -> dict[str, ComponentCost]:
        """Per step and component what must be done at the least; empty where nobody has counted.

        Keys are the names of `analysis.components`: gemm, attention, activation, optimizer, …
        """

    def make_model(self) -> nn.Module:
        """The model in training mode, float32, on the CPU, initialised from torch's global seed."""

    def make_optimizer(self, model: nn.Module, device_type: str) -> torch.optim.Optimizer: ...

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The scalar training loss of one batch."""

    def sample_batch(self, split: str, device: torch.device) -> Batch:
        """One fresh batch of "train" or "val" data on the device."""


def fixed_batches(workload: Workload, device: torch.device, count: int) -> Iterable[Batch]:
    """A few batches sampled beforehand, so that the step is timed without its data loading."""
    return [workload.sample_batch("train", device) for _ in range(count)]
