"""The workload that ships: nanoGPT's GPT, trained on a corpus."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from mfubench_model.batches import sample_batch
from mfubench_model.conventions import CONVENTIONS
from mfubench_model.corpus import Corpus
from mfubench_model.flops import component_flops, hardware_flops_per_step, model_flops_per_step
from mfubench_model.gpt import GPT
from mfubench_model.memory import training_memory
from mfubench_model.optimizer import make_adamw
from mfubench_model.presets import Preset
from mfubench_model.traffic import clip_bytes_per_step, component_bytes, optimizer_bytes_per_step
from torch import Tensor, nn

from mfubench.analysis.account import ComponentCost
from mfubench.measure.workload import Batch, LoopSettings, StepCost


def loop_settings(preset: Preset) -> LoopSettings:
    """How often a preset's training loop does anything but train."""
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
        return loop_settings(self.preset)

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

    def component_costs(self, dtype: str) -> dict[str, ComponentCost]:
        config, batch_size = self.preset.config, self.batch_size
        flops = {name: count.total for name, count in component_flops(config, batch_size).items()}
        activation_bytes = 2 if dtype in ("bfloat16", "float16") else 4
        moved = {
            name: count.total
            for name, count in component_bytes(
                config, batch_size, activation_bytes=activation_bytes
            ).items()
        }
        matmuls = ("qkv", "projection", "mlp", "head")
        attention = ("attention_scores", "attention_values")
        costs = {
            "gemm": ComponentCost(
                flops=sum(flops[name] for name in matmuls),
                bytes=sum(moved[n] for n in ("qkv", "projection", "mlp_matmul", "head")),
            ),
            "attention": ComponentCost(
                flops=sum(flops[name] for name in attention), bytes=moved["attention"]
            ),
            "optimizer": ComponentCost(flops=0, bytes=optimizer_bytes_per_step(config)),
            "clip": ComponentCost(flops=0, bytes=clip_bytes_per_step(config)),
        }
        for bar, name in (
            ("normalisation", "norm"),
            ("activation", "activation"),
            ("residual", "residual"),
            ("embedding", "embedding"),
            ("loss", "loss"),
        ):
            costs[bar] = ComponentCost(flops=0, bytes=moved[name])
        return costs

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
