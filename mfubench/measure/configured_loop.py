"""A training loop built from a `LoopConfig`: nanoGPT's loop with any of the knobs turned."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from mfubench_model.corpus import Corpus
from mfubench_model.gpt import GPT, MLP, Block, CausalSelfAttention
from mfubench_model.optimizer import make_adamw
from mfubench_model.presets import Preset, get_preset
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from mfubench.analysis import components
from mfubench.hardware.devices import parse_device
from mfubench.measure.gpt_workload import GPTWorkload, loop_settings
from mfubench.measure.loaders import Loader, draws, make_loader
from mfubench.measure.loop_bars import LoopBars
from mfubench.measure.loop_config import LoopConfig
from mfubench.measure.precision import set_matmul_precision
from mfubench.measure.train_loop import TrainLoop
from mfubench.measure.train_step import SEED, Phase
from mfubench.measure.workload import Batch, LoopSettings

SDP_BACKENDS = {
    "fused": [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION],
    "math": [SDPBackend.MATH],
}


@dataclass(frozen=True, slots=True)
class ConfiguredWorkload(GPTWorkload):
    """A preset's GPT with the knobs of model, optimizer, schedule and loader turned."""

    config: LoopConfig
    loader: Loader

    @property
    def loop(self) -> LoopSettings:
        plain, scale = loop_settings(self.preset), self.config.schedule_scale
        return replace(
            plain,
            learning_rate=scale * plain.learning_rate,
            min_learning_rate=scale * plain.min_learning_rate,
            warmup_iters=plain.warmup_iters // scale,
            max_iters=plain.max_iters // scale,
            eval_interval=self.config.eval_interval or plain.eval_interval,
            log_interval=self.config.log_interval or plain.log_interval,
        )

    def make_model(self) -> nn.Module:
        return configured_model(self.preset, self.config)

    def make_optimizer(self, model: nn.Module, device_type: str) -> torch.optim.Optimizer:
        return configured_optimizer(model, self.preset, self.config)

    def sample_batch(self, split: str, device: torch.device) -> Batch:
        return self.loader.next_batch()


class ConfiguredLoop(TrainLoop):
    """One optimizer step per call, data and logging included; evaluation apart.

    The same seed gives the same weights and the same data for every configuration of a batch size,
    so that losses can be compared step by step.
    """

    def __init__(self, config: LoopConfig, corpus: Corpus, *, seed: int = SEED) -> None:
        self.config = config
        preset, device = _padded(get_preset(config.preset), config), parse_device(config.device)
        set_matmul_precision(config.dtype)
        if config.flush_denormals:
            torch.set_flush_denormal(True)
        sizes = {"batch_size": config.batch_size, "block_size": preset.config.block_size}
        self._loader = make_loader(config.loader, corpus.train, **sizes, device=device, seed=seed)
        self._validation = draws(corpus.val, **sizes, device=device.torch_device, seed=seed + 1)
        self.tokens_per_step = config.tokens_factor * preset.config.block_size
        self._bars: LoopBars | None = None
        super().__init__(
            ConfiguredWorkload(preset, config.batch_size, corpus, config, self._loader),
            device,
            dtype=config.dtype,
            compile=config.compile != "no",
            compile_mode=None if config.compile in ("no", "default") else config.compile,
            seed=seed,
        )

    def _drawn_before(self) -> list[Batch]:
        """None: every batch comes from the loader, in its order."""
        return []

    def iterate(self, phase: Phase) -> None:
        self.set_learning_rate()
        accumulation = self.config.gradient_accumulation
        for left in range(accumulation - 1, -1, -1):
            with phase(components.FORWARD):
                loss = self.forward(self._batch) / accumulation
            with phase(components.DATA):
                self.advance()
            if left:
                with phase(components.BACKWARD):
                    self.backward(loss)
        self.update(loss, phase)
        if accumulation > 1:  # a kernel that nanoGPT's loop has only where it logs
            self.last_loss = self.last_loss * accumulation
        with phase(components.LOGGING):
            self.log()

    def forward(self, batch: Batch) -> Tensor:
        backends = SDP_BACKENDS.get(self.config.attention)
        with sdpa_kernel(backends) if backends else contextlib.nullcontext():
            return super().forward(batch)

    def zero_grad(self) -> None:
        self.optimizer.zero_grad(set_to_none=self.config.zero_grad == "none")

    def evaluate(self, batches: int) -> float:
        """Mean loss over batches of the validation split, in evaluation mode."""
        self._forward_model.eval()
        try:
            with torch.no_grad():
                losses = [self.forward(next(self._validation)).item() for _ in range(batches)]
        finally:
            self._forward_model.train()
        return sum(losses) / len(losses)

    def description(self) -> dict[str, Any]:
        """What a parent needs to know: tokens per step, and an iteration's share of evaluations and
        checkpoints. `train.py` evaluates two splits, and saves while the loss still falls."""
        settings = self.workload.loop
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

    def close(self) -> None:
        """Close the log, and stop the loader's threads or processes."""
        super().close()
        self._loader.close()


def _padded(preset: Preset, config: LoopConfig) -> Preset:
    """The preset with its vocabulary padded to a multiple."""
    vocab = preset.config.vocab_size
    padded = math.ceil(vocab / config.vocab_multiple) * config.vocab_multiple
    return replace(preset, config=replace(preset.config, vocab_size=padded))


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
