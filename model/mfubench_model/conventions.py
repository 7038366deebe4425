"""What others call "the FLOPs" of a training step, side by side: the same run spans 0.71 to 1.36
times the exact count.

A utilisation is worth nothing without the name of its convention. All formulas are per token,
forward and backward, with L layers, H heads, Q head size, C = H·Q width, T context, V vocabulary.
MFLOP per token for GPT-2 124M without biases (L=12, C=768, T=1024, V=50304):

>>> from mfubench_model.config import GPTConfig
>>> gpt2 = GPTConfig(bias=False)
>>> for name, convention in CONVENTIONS.items():
...     print(f"{name:15} {convention.flops_per_step(gpt2, 1) / 1024 / 1e6:8.2f}")
exact-causal      798.09
megatron          798.03
llm.c             802.87
nanogpt           854.77
palm              854.65
exact-full        854.65
hardware-fused    873.53
kaplan            566.23
chinchilla       1087.78
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from mfubench_model.config import ConfigError, GPTConfig, require_positive_int
from mfubench_model.parameters import nanogpt_parameters, parameter_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

A100_BF16_PEAK_FLOPS_PER_S = 312e12
"""Dense bfloat16 peak of an NVIDIA A100 (its datasheet); the constant in nanoGPT's
`estimate_mfu`."""


@dataclass(frozen=True, slots=True)
class Convention:
    """One way to count a training step."""

    name: str
    formula: str
    """Per token, forward and backward."""
    source: str
    flops_per_token: Callable[[GPTConfig], int]

    def flops_per_step(self, config: GPTConfig, batch_size: int) -> int:
        """FLOPs of one optimizer step over `batch_size` full blocks by this convention."""
        require_positive_int("batch_size", batch_size)
        return self.flops_per_token(config) * batch_size * config.block_size


def _lc(config: GPTConfig) -> int:
    """L·C, the size that multiplies the context length in every attention term (C = H·Q)."""
    return config.n_layer * config.n_embd


def _exact_causal(config: GPTConfig) -> int:
    """Scores and values, 2·C each per pair, (T+1)/2 pairs per token, times 3 for forward and
    backward: 6·L·C·(T+1)."""
    return 6 * parameter_count(config).matmul + 6 * _lc(config) * (config.block_size + 1)


def _megatron(config: GPTConfig) -> int:
    """As exact-causal, but T/2 pairs per token: the diagonal is counted as half."""
    return 6 * parameter_count(config).matmul + 6 * _lc(config) * config.block_size


def _llm_c(config: GPTConfig) -> int:
    """Every parameter counts as a matmul weight, positions, norms and biases too."""
    return 6 * parameter_count(config).total + 6 * _lc(config) * config.block_size


def _nanogpt(config: GPTConfig) -> int:
    """Every parameter but positions counts as a matmul weight; attention is full."""
    return 6 * nanogpt_parameters(config) + 12 * _lc(config) * config.block_size


def _exact_full(config: GPTConfig) -> int:
    """Matmul weights alone; attention is full."""
    return 6 * parameter_count(config).matmul + 12 * _lc(config) * config.block_size


def _hardware_fused(config: GPTConfig) -> int:
    """As exact-full, plus 2·L·C·T for the scores that a fused backward computes again."""
    return 6 * parameter_count(config).matmul + 14 * _lc(config) * config.block_size


def _kaplan(config: GPTConfig) -> int:
    """The blocks' weights alone, no output head; half attention."""
    return 6 * parameter_count(config).block_matmul + 6 * _lc(config) * config.block_size


def _chinchilla(config: GPTConfig) -> int:
    """Embedding lookup as a matmul (2·V·C), logits (2·V·C), full attention, 3 FLOPs per softmax
    entry; times 3."""
    width, length = config.n_embd, config.block_size
    layer = 24 * width**2 + 4 * length * width + 3 * config.n_head * length
    return 3 * (4 * config.vocab_size * width + config.n_layer * layer)


_ALL = (
    Convention(
        "exact-causal",
        "6·(12·L·C² + V·C) + 6·L·C·(T+1)",
        "counted matmul by matmul; a query attends to itself and what came before",
        _exact_causal,
    ),
    Convention(
        "megatron",
        "6·(12·L·C² + V·C) + 6·L·C·T",
        "Megatron-LM, num_floating_point_operations: matmuls times 3, causal attention halved, "
        "logits included",
        _megatron,
    ),
    Convention(
        "llm.c",
        "6·N_all + 6·L·C·T",
        "llm.c, gpt2_estimate_mfu: all parameters including positions, causal attention halved",
        _llm_c,
    ),
    Convention(
        "nanogpt",
        "6·(N_all - T·C) + 12·L·H·Q·T",
        "nanoGPT, GPT.estimate_mfu: all parameters without positions, full attention",
        _nanogpt,
    ),
    Convention(
        "palm",
        "6·N_matmul + 12·L·H·Q·T",
        "PaLM (arXiv 2204.02311), appendix B, with N_matmul = 12·L·C² + V·C",
        _exact_full,
    ),
    Convention(
        "exact-full",
        "6·(12·L·C² + V·C) + 12·L·C·T",
        "counted matmul by matmul; the masked half of attention counts too",
        _exact_full,
    ),
    Convention(
        "hardware-fused",
        "6·(12·L·C² + V·C) + 14·L·C·T",
        "torch FlopCounterMode with fused CUDA attention: its backward has 5 matmuls, not 4",
        _hardware_fused,
    ),
    Convention(
        "kaplan",
        "6·12·L·C² + 6·L·C·T",
        "Kaplan et al. (arXiv 2001.08361), section 2.1: without embeddings and logits, "
        "attention halved",
        _kaplan,
    ),
    Convention(
        "chinchilla",
        "3·(4·V·C + L·(24·C² + 4·T·C + 3·H·T))",
        "Hoffmann et al. (arXiv 2203.15556), appendix F: embeddings, logits and softmax counted",
        _chinchilla,
    ),
)

CONVENTIONS: Mapping[str, Convention] = MappingProxyType({item.name: item for item in _ALL})
"""Every convention by name; the first is the one to quote, the rest stand beside it."""


def nanogpt_mfu(config: GPTConfig, sequences_per_iter: int, seconds_per_iter: float) -> float:
    """The share that nanoGPT prints as `mfu`, as a ratio (0.37 for "37.00%").

    (6·N + 12·L·H·Q·T) · T · sequences_per_iter / seconds_per_iter / 312e12

    N is all parameters without positions; 12·L·H·Q·T is full attention; T·sequences is the tokens
    of one step (batch_size · gradient_accumulation_steps); 312e12 is the bfloat16 peak of an A100,
    whatever the device is. Source: nanoGPT, `GPT.estimate_mfu`. Left out: its running average (0.9
    old + 0.1 new), and other ranks.

    >>> cpu = GPTConfig(block_size=64, vocab_size=65, n_layer=4, n_head=4, n_embd=128, bias=False)
    >>> f"{nanogpt_mfu(cpu, 12, 0.040):.4%}"
    '0.0318%'
    """
    require_positive_int("sequences_per_iter", sequences_per_iter)
    if not 0 < seconds_per_iter < float("inf"):
        raise ConfigError(
            f"seconds_per_iter is {seconds_per_iter!r}; it must be a positive, finite number."
        )
    flops = CONVENTIONS["nanogpt"].flops_per_step(config, sequences_per_iter)
    return flops / seconds_per_iter / A100_BF16_PEAK_FLOPS_PER_S
