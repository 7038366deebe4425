"""The workload that ships: nanoGPT's GPT, trained on a corpus."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mfubench.measure.workload import Batch, LoopSettings, StepCost
from model.batches import sample_batch
from model.conventions import CONVENTIONS
from model.corpus import Corpus
from model.flops import hardware_flops_per_step, model_flops_per_step
from model.gpt import GPT
from model.memory import training_memory
from model.optimizer import make_adamw
from model.presets import Preset


@dataclass(frozen=True, slots=True)
class GPTWorkload:
    """A preset at a batch size, reading a corpus."""

    preset: Preset
    batch_size: int
    corpus: Corpus

    @property
    def name(self) -> str:
        return self.preset.name

    @property
    def block_size(self) -> int:
        return self.preset.config.block_size

    @property
    def loop(self) -> LoopSettings:
        preset = self.preset
        return LoopSettings(
            max_iters=preset.max_iters,
            eval_interval=preset.eval_interval,
            eval_iters=preset.eval_iters,
            log_interval=preset.log_interval,
            learning_rate=preset.learning_rate,
            min_learning_rate=preset.learning_rate / 10,  # nanoGPT's advice in its own comments
            warmup_iters=min(100, preset.max_iters // 10),
            grad_clip=preset.grad_clip,
        )

    def cost(self, dtype: str, device_type: str) -> StepCost:
        config, batch_size = self.preset.config, self.batch_size
        memory_dtype = "float32" if dtype == "tf32" else dtype
        memory = training_memory(config, batch_size, dtype=memory_dtype, device_type=device_type)
        return StepCost(
            tokens=batch_size * config.block_size,
            model_flops=model_flops_per_step(config, batch_size),
            hardware_flops=hardware_flops_per_step(config, batch_size),
            palm_flops=CONVENTIONS["palm"].flops_per_step(config, batch_size),
            nanogpt_flops=CONVENTIONS["nanogpt"].flops_per_step(config, batch_size),
            memory_bytes=memory.total_bytes,
        )

    def make_model(self) -> nn.Module:
        return GPT(self.preset.config)

    def make_optimizer(self, model: nn.Module, device_type: str) -> torch.optim.Optimizer:
        preset = self.preset
        return make_adamw(
            model,
            learning_rate=preset.learning_rate,
            weight_decay=preset.weight_decay,
            betas=(preset.beta1, preset.beta2),
            device_type=device_type,
        )

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        idx, targets = batch
        loss: Tensor = model(idx, targets)[1]
        return loss

    def sample_batch(self, split: str, device: torch.device) -> Batch:
        return sample_batch(
            self.corpus.train if split == "train" else self.corpus.val,
            batch_size=self.batch_size,
            block_size=self.preset.config.block_size,
            device=device,
            generator=None,
        )
