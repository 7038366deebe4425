"""A small GPT step, and the same step with one cost planted in it.

Nothing sleeps: a planted cost is work, as a user's mistake is, and so is its wait for a device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from mfubench_model.config import GPTConfig
from mfubench_model.gpt import GPT, MLP, Block
from mfubench_model.presets import Preset
from torch import Tensor, nn

from mfubench.measure.gpt_workload import GPTWorkload
from mfubench.measure.train_loop import TrainLoop
from mfubench.measure.train_step import TrainStep
from mfubench.measure.workload import Batch

PRESET = Preset(
    name="planted",
    config=GPTConfig(block_size=64, vocab_size=65, n_layer=1, n_head=2, n_embd=64, bias=False),
    batch_size=16,
    eval_interval=50,
    eval_iters=4,
    log_interval=1,
    max_iters=200,
    learning_rate=1e-3,
    beta1=0.9,
    beta2=0.99,
    description="for tests",
    nanogpt_config="",
)


# ---------------------------------------------------------------------------- in the model


class RepeatedGELU(nn.GELU):
    """The GELU, computed many times before it counts."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.no_grad():
            for _ in range(16):
                super().forward(input)
        return super().forward(input)


class ComposedGELU(nn.Module):
    """The tanh approximation as its authors wrote it down, a pass over memory for each sign in it,
    and some more of the same."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            for _ in range(3):
                composed_gelu(x)
        return composed_gelu(x)


def composed_gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1.0 + torch.tanh(0.7978845608 * (x + 0.044715 * torch.pow(x, 3.0))))


class CloningMLP(MLP):
    """An MLP that clones its widest activations again and again."""

    def forward(self, x_BTC: Tensor) -> Tensor:
        hidden = self.c_fc(x_BTC)
        for _ in range(80):
            hidden = hidden.clone()
        return self.c_proj(self.gelu(hidden))


class CastingMLP(MLP):
    """An MLP that widens its activations to float64 and narrows them again."""

    def forward(self, x_BTC: Tensor) -> Tensor:
        hidden = self.c_fc(x_BTC)
        for _ in range(16):
            hidden = hidden.double().float()
        return self.c_proj(self.gelu(hidden))


class SlowlyKnown(Tensor):
    """A number that the host has to wait for, as it has to for one that a GPU is computing."""

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        np.sort(NUMBERS)
        return 0.0


class WaitingBlock(Block):
    """A block that asks for numbers which take a while."""

    def forward(self, x_BTC: Tensor) -> Tensor:
        out_BTC = super().forward(x_BTC)
        number = torch.zeros(()).as_subclass(SlowlyKnown)
        for _ in range(60):
            number.item()
        return out_BTC


NUMBERS = np.random.default_rng(0).integers(0, 1 << 40, 8000)


def _with_activation(kind: type[nn.Module]) -> Callable[[GPT], None]:
    def change(model: GPT) -> None:
        for block in model.transformer.h:
            block.mlp.gelu = kind()

    return change


def _with_mlp(kind: type[MLP]) -> Callable[[GPT], None]:
    def change(model: GPT) -> None:
        for block in model.transformer.h:
            block.mlp.__class__ = kind

    return change


def _with_block(kind: type[Block]) -> Callable[[GPT], None]:
    def change(model: GPT) -> None:
        for block in model.transformer.h:
            block.__class__ = kind

    return change


# ------------------------------------------------------------------------------- around it


class SlowAdamW(torch.optim.AdamW):
    """AdamW that goes over its state again, an elementwise operation at a time."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        result = super().step(closure)
        for group in self.param_groups:
            for parameter in group["params"]:
                for _ in range(40):
                    torch.sin(self.state[parameter]["exp_avg"])
        return result


class OftenAdamW(torch.optim.AdamW):
    """AdamW several times a step, so that the way it works is much of the step."""

    def step(self, closure: Any = None) -> Any:
        for _ in range(4):
            super().step(closure)


@dataclass(frozen=True, slots=True)
class PlantedWorkload(GPTWorkload):
    """The workload with a model, a loader or an optimizer that was tampered with."""

    change_model: Callable[[Any], None] | None = None
    slow_loader: bool = False
    optimizer: Callable[..., torch.optim.Optimizer] | None = None

    def make_model(self) -> nn.Module:
        model = GPT(self.preset.config)
        if self.change_model is not None:
            self.change_model(model)
        return model

    def make_optimizer(self, model: nn.Module, device_type: str) -> torch.optim.Optimizer:
        if self.optimizer is None:
            return GPTWorkload.make_optimizer(self, model, device_type)
        return self.optimizer(model.parameters(), lr=self.preset.learning_rate)

    def sample_batch(self, split: str, device: torch.device) -> Batch:
        if self.slow_loader:
            for _ in range(60):
                np.sort(NUMBERS)
        return GPTWorkload.sample_batch(self, split, device)


@dataclass(frozen=True, slots=True)
class Plant:
    """One cost: what is planted, and the bar that must grow."""

    bar: str
    settings: dict[str, Any]
    plain: dict[str, Any] = field(default_factory=dict)
    loop: bool = False
    batch_size: int = 16

    @property
    def step_type(self) -> type[TrainStep]:
        return TrainLoop if self.loop else TrainStep


def _fused(parameters: Any, lr: float) -> torch.optim.Optimizer:
    return OftenAdamW(parameters, lr=lr, fused=True)


def _one_by_one(parameters: Any, lr: float) -> torch.optim.Optimizer:
    return OftenAdamW(parameters, lr=lr, foreach=False)


PLANTS = {
    "an activation computed again": Plant(
        "activation", {"change_model": _with_activation(RepeatedGELU)}, batch_size=32
    ),
    "an activation of many operations": Plant(
        "activation", {"change_model": _with_activation(ComposedGELU)}, batch_size=32
    ),
    "needless clones": Plant("copies", {"change_model": _with_mlp(CloningMLP)}, batch_size=48),
    "upcasts": Plant("copies", {"change_model": _with_mlp(CastingMLP)}, batch_size=48),
    "items that wait": Plant("synchronisation", {"change_model": _with_block(WaitingBlock)}),
    "slow loader": Plant("data", {"slow_loader": True}, loop=True),
    "slow optimizer": Plant("optimizer", {"optimizer": SlowAdamW}),
    "unfused optimizer": Plant(
        "optimizer", {"optimizer": _one_by_one}, {"optimizer": _fused}, batch_size=1
    ),
}
