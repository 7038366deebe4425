"""A small GPT step, and the same step with one cost planted in it.

Nothing sleeps: a planted cost is work, as a user's mistake is, and so is its wait for a device.
`python planted_costs.py NAME` looks for one of them, in a process of its own, and prints what it
found as JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mfubench_model.config import GPTConfig
from mfubench_model.corpus import Corpus, open_corpus
from mfubench_model.gpt import GPT, MLP, Block
from mfubench_model.presets import Preset
from torch import Tensor, nn

from mfubench.hardware.devices import CpuDevice
from mfubench.measure.gpt_workload import GPTWorkload
from mfubench.measure.loop_bars import touch_memory
from mfubench.measure.profile_rows import operators
from mfubench.measure.profiler_events import event_cost
from mfubench.measure.profiling import StepProfiler, phased
from mfubench.measure.train_loop import TrainLoop
from mfubench.measure.train_step import TrainStep
from mfubench.measure.workload import Batch
from mfubench.timing import time_s

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
    description="a GPT so small that what is planted is much of its step",
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
        out_BTC: Tensor = self.c_proj(self.gelu(hidden))
        return out_BTC


class CastingMLP(MLP):
    """An MLP that widens its activations to float64 and narrows them again."""

    def forward(self, x_BTC: Tensor) -> Tensor:
        hidden = self.c_fc(x_BTC)
        for _ in range(16):
            hidden = hidden.double().float()
        out_BTC: Tensor = self.c_proj(self.gelu(hidden))
        return out_BTC


class SlowlyKnown(Tensor):
    """A number that the host has to wait for, as it has to for one that a GPU is computing."""

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
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
        for block in model.modules():
            if isinstance(block, MLP):
                block.gelu = kind()  # type: ignore[assignment]

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
    """One cost: what is planted, and the bar that must grow by it."""

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


# ------------------------------------------------------------------------------- the look for it

LOOKS = 12
"""Turns of the plain and the planted step."""
QUIET = 0.2
PLAIN_STEPS = 4
STEP = "the plain step"


class QuietBars:
    """The plain duration of a step and its bars, in seconds.

    Other programs only ever add time, and a machine may be slow for seconds, so of each the
    duration counts that a fifth of the turns stays below. A bar is the operators of a component and
    its Python together.
    """

    def __init__(self, step: TrainStep, cost_s: float) -> None:
        self._step = step
        self._profiler = StepProfiler(step, phased(step), event_cost_s=cost_s)
        self._turns: list[dict[str, float]] = []

    def turn(self) -> None:
        """A few plain steps, and a profiled one."""
        found: dict[str, float] = defaultdict(
            float, {STEP: min(time_s(self._step) for _ in range(PLAIN_STEPS))}
        )
        self._profiler.block(plain=1, profiled=1)
        for row in operators(self._profiler.taken(), on_host=True):
            found[row.component] += row.seconds
        self._turns.append(found)

    def bars_s(self) -> dict[str, float]:
        """Seconds of the step and of each bar."""
        names = {name for turn in self._turns for name in turn}
        quiet = {n: [turn.get(n, 0.0) for turn in self._turns] for n in names}
        return {name: float(np.quantile(seconds, QUIET)) for name, seconds in quiet.items()}


def built(plant: Plant, corpus: Corpus, *, planted: bool) -> TrainStep:
    """The step with or without the cost, warm."""
    settings = plant.settings if planted else plant.plain
    workload = PlantedWorkload(PRESET, plant.batch_size, corpus, **settings)
    step = plant.step_type(workload, CpuDevice(), dtype="float32", compile=False)
    for _ in range(5):
        step()
    return step


def look_for(name: str) -> dict[str, Any]:
    """What was planted and what was found of it, after a fixed number of looks.

    `planted_s` is what the step takes longer, `found_s` what its bar does; `elsewhere` is the bar
    among the others that changed most, by `elsewhere_s`. All come from two steps that take turns.
    """
    plant = PLANTS[name]
    config = PRESET.config
    with tempfile.TemporaryDirectory(prefix="mfubench-") as folder:
        corpus = open_corpus(
            None,
            vocab_size=config.vocab_size,
            block_size=config.block_size,
            cache_dir=Path(folder),
        )
        touch_memory()
        cost_s = event_cost(CpuDevice())  # one for both: what differs between them is the plant
        steps = [built(plant, corpus, planted=planted) for planted in (False, True)]
        sides = [QuietBars(step, cost_s) for step in steps]
        for _ in range(LOOKS):
            for side in sides:
                side.turn()
        for step in steps:
            if isinstance(step, TrainLoop):
                step.close()
    plain_s, planted_s = (side.bars_s() for side in sides)
    bars = plain_s.keys() | planted_s.keys()
    grown_s = {bar: planted_s.get(bar, 0.0) - plain_s.get(bar, 0.0) for bar in bars}
    total_s, found_s = grown_s.pop(STEP), grown_s.pop(plant.bar)
    elsewhere = max(grown_s, key=lambda bar: abs(grown_s[bar]))
    return {
        "name": name,
        "bar": plant.bar,
        "looks": LOOKS,
        "step_s": plain_s[STEP],
        "planted_s": total_s,
        "found_s": found_s,
        "found_ratio": found_s / total_s,
        "elsewhere": elsewhere,
        "elsewhere_s": grown_s[elsewhere],
    }


if __name__ == "__main__":
    torch.set_num_threads(1)  # a step this small gains nothing from a second one
    print(json.dumps(look_for(sys.argv[1])))
