"""How many floating-point operations one training step needs: exact, in integers, per component and
per convention.

Letters: L layers, H heads, C width, Q = C/H head size, T context, V vocabulary, B batch. A
multiply-add is 2 FLOPs. A count here never depends on a device, a kernel or a measured time.
"""

from __future__ import annotations

from dataclasses import dataclass

from mfubench_model.config import GPTConfig, require_positive_int, resolve_context
from mfubench_model.conventions import (
    A100_BF16_PEAK_FLOPS_PER_S,
    CONVENTIONS,
    Convention,
    nanogpt_mfu,
)
from mfubench_model.parameters import ParameterCount, nanogpt_parameters, parameter_count

__all__ = [
    "A100_BF16_PEAK_FLOPS_PER_S",
    "COMPONENTS",
    "CONVENTIONS",
    "Convention",
    "ParameterCount",
    "PhaseFlops",
    "component_flops",
    "hardware_flops_per_step",
    "model_flops_per_step",
    "nanogpt_mfu",
    "nanogpt_parameters",
    "parameter_count",
]

COMPONENTS = ("qkv", "attention_scores", "attention_values", "projection", "mlp", "head")


@dataclass(frozen=True, slots=True)
class PhaseFlops:
    """FLOPs of one component in one step, by phase."""

    forward: int
    backward: int

    @property
    def total(self) -> int:
        """Forward and backward together."""
        return self.forward + self.backward


def component_flops(
    config: GPTConfig, batch_size: int, *, causal: bool = True, context: int | None = None
) -> dict[str, PhaseFlops]:
    """Matmul FLOPs of one training step, per component.

    With N = B·T tokens, forward:

    - qkv               2·N·C·3C per layer: 2 per multiply-add, C inputs, 3C outputs for each token
    - attention_scores  2·P·Q per head, layer and sequence: each query-key pair is a dot product of
                        length Q
    - attention_values  2·P·Q likewise: each pair adds Q values, weighted
    - projection        2·N·C·C per layer
    - mlp               2·N·C·4C up and 2·N·4C·C down, per layer
    - head              2·N·C·V, for every position as in training

    P is T·(T+1)/2 pairs when `causal` (a query sees itself and what came before) and T² when not
    (what most kernels are credited with, whether or not they skip the masked half).

    Backward is exactly twice forward: each matmul Y = X·W gives two of the same size, dX = dY·Wᵀ
    and dW = Xᵀ·dY. The first layer needs its dX too, because embeddings are trained.

    Source: Kaplan et al. 2020 (arXiv 2001.08361), table 1; Chowdhery et al. 2022 (arXiv
    2204.02311), appendix B; Narayanan et al. 2021 (arXiv 2104.04473), appendix. Left out:
    everything that is not a matmul (embedding lookup, LayerNorm, softmax, GELU, residual sums,
    loss, optimizer), by a rough count below 1 % at GPT-2's size, and recomputation.

    >>> flops = component_flops(GPTConfig(bias=False), batch_size=1)
    >>> flops["mlp"].forward == 2 * 1024 * 8 * 12 * 768**2
    True
    >>> flops["attention_scores"].forward  # 2 · 12 layers · 768 · 1024·1025/2 pairs
    9673113600
    """
    require_positive_int("batch_size", batch_size)
    length = resolve_context(config, context)
    tokens = batch_size * length
    layers, width = config.n_layer, config.n_embd
    pairs = batch_size * (length * (length + 1) // 2 if causal else length * length)
    attention = 2 * pairs * width * layers  # H heads of size Q: H·Q = C
    forward = {
        "qkv": 2 * tokens * width * 3 * width * layers,
        "attention_scores": attention,
        "attention_values": attention,
        "projection": 2 * tokens * width * width * layers,
        "mlp": 2 * (2 * tokens * width * 4 * width) * layers,
        "head": 2 * tokens * width * config.vocab_size,
    }
    return {name: PhaseFlops(forward[name], 2 * forward[name]) for name in COMPONENTS}


def model_flops_per_step(config: GPTConfig, batch_size: int, *, causal: bool = True) -> int:
    """FLOPs that one training step over B full blocks needs, forward and backward.

    B·T·(6·(12·L·C² + V·C) + 6·L·C·(T+1)) when causal; the last term is 12·L·C·T with full
    attention.

    >>> model_flops_per_step(GPTConfig(bias=False), 1) / 1024 / 1e6  # MFLOP per token, GPT-2 124M
    798.087168
    >>> model_flops_per_step(GPTConfig(bias=False), 1, causal=False) / 1024 / 1e6
    854.654976
    """
    parts = component_flops(config, batch_size, causal=causal)
    return sum(part.total for part in parts.values())


def hardware_flops_per_step(config: GPTConfig, batch_size: int) -> int:
    """FLOPs that a step with fused attention carries out when no masked block is skipped.

    Full attention, and a backward of 5 matmuls per layer where the plain one has 4: the kernel does
    not keep the T by T scores and multiplies queries by keys again (Dao et al. 2022, arXiv
    2205.14135, section 3). That adds one forward's worth of scores, 2·B·L·C·T², so
    B·T·(6·(12·L·C² + V·C) + 14·L·C·T) in all.

    Left out: blocks above the diagonal that a causal kernel skips, which makes this an upper bound.

    >>> hardware_flops_per_step(GPTConfig(bias=False), 1) / 1024 / 1e6
    873.529344
    """
    recomputed = component_flops(config, batch_size, causal=False)["attention_scores"].forward
    return model_flops_per_step(config, batch_size, causal=False) + recomputed
