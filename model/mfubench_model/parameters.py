"""How many parameters a GPT has, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mfubench_model.config import GPTConfig


@dataclass(frozen=True, slots=True)
class ParameterCount:
    """Parameters per part; the output head shares the token embedding's table and is counted there,
    once."""

    wte: int
    """Token embedding and output head, V·C."""
    wpe: int
    """Position embedding, T·C."""
    qkv: int
    """Query, key and value weights, 3·C² per layer."""
    projection: int
    """Attention output weights, C² per layer."""
    mlp: int
    """Both MLP weights, 8·C² per layer."""
    norms: int
    """LayerNorm gains, C for each of the 2·L+1 norms."""
    biases: int
    """0 without biases; else 3C + C + 4C + C per layer in linear layers and C per norm."""

    @property
    def total(self) -> int:
        """Every parameter once."""
        return self.wte + self.wpe + self.block_matmul + self.norms + self.biases

    @property
    def block_matmul(self) -> int:
        """Weights of the matmuls inside the blocks, 12·L·C²."""
        return self.qkv + self.projection + self.mlp

    @property
    def matmul(self) -> int:
        """Parameters that take part in a matmul, 12·L·C² + V·C: the blocks' weights and the
        head."""
        return self.block_matmul + self.wte


def parameter_count(config: GPTConfig) -> ParameterCount:
    """Parameters of nanoGPT's GPT.

    total = V·C + T·C + 12·L·C² + (2L+1)·C [+ 9·L·C + (2L+1)·C with biases]

    >>> from mfubench_model.config import GPTConfig
    >>> parameter_count(GPTConfig(bias=False)).total
    124373760
    >>> parameter_count(GPTConfig(vocab_size=50257)).total  # GPT-2 as published
    124439808
    """
    layers, width = config.n_layer, config.n_embd
    norms = (2 * layers + 1) * width
    return ParameterCount(
        wte=config.vocab_size * width,
        wpe=config.block_size * width,
        qkv=3 * layers * width**2,
        projection=layers * width**2,
        mlp=8 * layers * width**2,
        norms=norms,
        biases=9 * layers * width + norms if config.bias else 0,
    )


def nanogpt_parameters(config: GPTConfig) -> int:
    """The number that nanoGPT prints and uses: all parameters without position embeddings.

    Token embeddings stay in because the tied head multiplies with them (nanoGPT,
    `GPT.get_num_params`).

    >>> from mfubench_model.config import GPTConfig
    >>> nanogpt_parameters(GPTConfig(bias=False))
    123587328
    """
    count = parameter_count(config)
    return count.total - count.wpe
