"""A training loop built from a `LoopConfig`: nanoGPT's loop with any of the knobs turned."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from mfubench_model.corpus import Corpus
from mfubench_model.gpt import GPT, MLP, Block, CausalSelfAttention
from mfubench_model.optimizer import make_adamw
from mfubench_model.presets import Preset, get_preset
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from mfubench.hardware.devices import Device, parse_device
from mfubench.measure import components
from mfubench.measure.gpt_workload import loop_settings
from mfubench.measure.loaders import Loader, make_loader
from mfubench.measure.loop_bars import LoopBars
from mfubench.measure.loop_config import LoopConfig
from mfubench.measure.train_loop import learning_rate
from mfubench.measure.train_step import (
    SEED,
    checkpoint_state,
    clip_gradients,
    float32_precision,
    make_autocast,
    make_scaler,
    step_optimizer,
)
from mfubench.measure.workload import LoopSettings

SDP_BACKENDS = {
    "fused": [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION],
    "math": [SDPBackend.MATH],
}


_UNMARKED = contextlib.nullcontext()


def unmarked(phase: str) -> contextlib.AbstractContextManager[Any]:
    """No mark around a phase: nothing but the step."""
    return _UNMARKED


class ConfiguredLoop:
    """One optimizer step per call, data and logging included; evaluation apart.

    The same seed gives the same weights and the same data for every configuration of a batch size,
    so that losses can be compared step by step.
    """

    def __init__(self, config: LoopConfig, corpus: Corpus, *, seed: int = SEED) -> None:
        self.config = config
        self.preset = _preset(config)
        self.corpus = corpus
        self.device: Device = parse_device(config.device)
        torch.manual_seed(seed)
        torch.set_float32_matmul_precision(float32_precision(config.dtype))
        if config.flush_denormals:
            torch.set_flush_denormal(True)
        self.model = configured_model(self.preset, config).to(self.device.torch_device)
        self._parameters = list(self.model.parameters())
        self._optimizer = configured_optimizer(self.model, self.preset, config)
        self._forward_model = _compiled(self.model, config)
        self._autocast = make_autocast(self.device.kind, config.dtype)
        self._scaler = make_scaler(self.device.kind, config.dtype)
        self._settings = _settings(self.preset, config)
        self._iteration = 0
        self._loader: Loader = make_loader(
            config, corpus, block_size=self.preset.config.block_size, device=self.device, seed=seed
        )
        self._batch = self._loader.next_batch()
        self.last_loss: Tensor = torch.full((), float("nan"))
        self._bars: LoopBars | None = None

    @property
    def tokens_per_step(self) -> int:
        return self.config.tokens_factor * self.preset.config.block_size

    @property
    def compiled(self) -> bool:
        return self.config.compile != "no"

    def __call__(self) -> None:
        self.iterate(unmarked)

    def iterate(self, phase: Callable[[str], contextlib.AbstractContextManager[Any]]) -> None:
        """One optimizer step, each phase of it inside `phase(its name)`."""
        rate = learning_rate(self._iteration, self._settings)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        accumulation = self.config.gradient_accumulation
        for _ in range(accumulation):
            with phase(components.FORWARD):
                loss = self._loss(self._batch) / accumulation
            with phase(components.DATA):
                self._batch = self._loader.next_batch()
            with phase(components.BACKWARD):
                (loss if self._scaler is None else self._scaler.scale(loss)).backward()
        with phase(components.CLIP):
            clip_gradients(self._parameters, self.preset.grad_clip, self._optimizer, self._scaler)
        with phase(components.OPTIMIZER):
            step_optimizer(self._optimizer, self._scaler)
            self._optimizer.zero_grad(set_to_none=self.config.zero_grad == "none")
        self.last_loss = loss.detach() * accumulation
        with phase(components.LOGGING):
            if self._iteration % self._settings.log_interval == 0:
                self.last_loss.item()
        self._iteration += 1
        self.device.synchronise()

    def _loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        with self._autocast, self._attention():
            loss: Tensor = self._forward_model(*batch)[1]
            return loss

    def _attention(self) -> contextlib.AbstractContextManager[Any]:
        backends = SDP_BACKENDS.get(self.config.attention)
        return sdpa_kernel(backends) if backends else contextlib.nullcontext()

    def evaluate(self, batches: int) -> float:
        """Mean loss over batches of the validation split, in evaluation mode."""
        self._forward_model.eval()
        try:
            with torch.no_grad():
                losses = [
                    self._loss(self._loader.evaluation_batch()).item() for _ in range(batches)
                ]
        finally:
            self._forward_model.train()
        return sum(losses) / len(losses)

    def description(self) -> dict[str, Any]:
        """What a parent needs to know: tokens per step, and an iteration's share of evaluations and
        checkpoints. `train.py` evaluates two splits, and saves while the loss still falls."""
        settings = self._settings
        return {
            "tokens_per_step": self.tokens_per_step,
            "evaluation_batches_per_step": 2 * settings.eval_iters / settings.eval_interval,
            "checkpoints_per_step": 1 / settings.eval_interval,
        }

    def bars(self) -> dict[str, float]:
        """Seconds of each bar of an iteration without evaluation and checkpoint, from a block of
        profiled steps. Raises ProfileError."""
        self._bars = self._bars or LoopBars(self)
        return self._bars.block()

    def save(self, path: Path) -> None:
        """Write a checkpoint as `train.py` does at an evaluation."""
        torch.save(checkpoint_state(self.model, self._optimizer, self._iteration), path)

    def close(self) -> None:
        """Stop the loader's threads or processes."""
        self._loader.close()


def _preset(config: LoopConfig) -> Preset:
    preset = get_preset(config.preset)
    vocab = preset.config.vocab_size
    padded = math.ceil(vocab / config.vocab_multiple) * config.vocab_multiple
    return replace(preset, config=replace(preset.config, vocab_size=padded))


def _settings(preset: Preset, config: LoopConfig) -> LoopSettings:
    plain = loop_settings(preset)
    scale = config.schedule_scale
    return replace(
        plain,
        learning_rate=scale * plain.learning_rate,
        min_learning_rate=scale * plain.min_learning_rate,
        warmup_iters=plain.warmup_iters // scale,
        max_iters=plain.max_iters // scale,
        eval_interval=config.eval_interval or plain.eval_interval,
        log_interval=config.log_interval or plain.log_interval,
    )


def configured_model(preset: Preset, config: LoopConfig) -> nn.Module:
    """The GPT of a preset with the configuration's GELU, checkpointing and kind of weights."""
    model = GPT(preset.config)
    if config.gelu == "tanh":
        for module in model.modules():
            if isinstance(module, MLP):
                module.gelu = nn.GELU(approximate="tanh")
    if config.attention == "float32":
        for module in model.modules():
            if isinstance(module, CausalSelfAttention):
                _attends_in_float32(module)
    if config.activation_checkpointing:
        for module in model.modules():
            if isinstance(module, Block):
                _checkpointed(module)
    return model.to(torch.bfloat16) if config.weights == "bfloat16" else model


def _attends_in_float32(attention: CausalSelfAttention) -> None:
    """Let an attention run in float32 inside a model of another type: torch's fused kernel for CPUs
    is slower in bfloat16 than in float32 (docs/findings.md)."""
    plain = attention.attend

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with torch.autocast(q.device.type, enabled=False):
            y = plain(q.float(), k.float(), v.float())
        return y.to(q.dtype)

    attention.attend = attend  # type: ignore[assignment, method-assign]


def _checkpointed(block: Block) -> None:
    """Let a block keep its input alone and compute the rest again in the backward pass."""
    plain = block.forward

    def forward(x: Tensor) -> Tensor:
        result: Tensor = checkpoint(plain, x, use_reentrant=False)
        return result

    block.forward = forward  # type: ignore[assignment, method-assign]


def configured_optimizer(
    model: nn.Module, preset: Preset, config: LoopConfig
) -> torch.optim.Optimizer:
    """AdamW over a model's parameters, with the configuration's kernel."""
    kernels: dict[str, dict[str, bool]] = {
        "for-loop": {"foreach": False, "fused": False},
        "foreach": {"foreach": True},
        "fused": {"fused": True},
    }
    return make_adamw(
        model,
        learning_rate=preset.learning_rate,
        weight_decay=preset.weight_decay,
        betas=(preset.beta1, preset.beta2),
        device_type=config.device.partition(":")[0],
        kernel=kernels.get(config.optimizer),
    )


def _compiled(model: nn.Module, config: LoopConfig) -> nn.Module:
    if config.compile == "no":
        return model
    mode = None if config.compile == "default" else config.compile
    return cast(nn.Module, torch.compile(model, mode=mode))
