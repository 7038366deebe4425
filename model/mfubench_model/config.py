"""The shape of a GPT, with nanoGPT's field names, order and defaults, and the checks that every
formula relies on."""

from __future__ import annotations

from dataclasses import dataclass


class ConfigError(ValueError):
    """A model or batch dimension is not usable."""


class ContextTooLongError(ValueError):
    """A sequence is longer than the positions that the model has."""


def require_positive_int(name: str, value: object) -> int:
    """Return `value` if it is an int of at least 1; True and 1.0 are not ints here.

    >>> require_positive_int("batch_size", 12)
    12
    >>> require_positive_int("batch_size", True)
    Traceback (most recent call last):
        ...
    mfubench_model.config.ConfigError: batch_size is True; it must be an integer of at least 1.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{name} is {value!r}; it must be an integer of at least 1.")
    return value


@dataclass(frozen=True, slots=True)
class GPTConfig:
    """nanoGPT's `GPTConfig`: `GPTConfig(**checkpoint["model_args"])` works on its checkpoints.

    >>> GPTConfig(n_layer=4, n_head=4, n_embd=128, block_size=64, vocab_size=65).head_size
    32
    >>> GPTConfig(n_embd=100, n_head=12)
    Traceback (most recent call last):
        ...
    mfubench_model.config.ConfigError: n_embd is 100 and n_head is 12; n_embd must be a multiple of n_head.
    """

    block_size: int = 1024
    """Longest context in tokens (T); also the number of learned positions."""
    vocab_size: int = 50304
    """Distinct token ids (V). GPT-2 has 50257; nanoGPT pads to a multiple of 64 because matmuls run
    faster there."""
    n_layer: int = 12
    """Transformer blocks (L)."""
    n_head: int = 12
    """Attention heads per block (H)."""
    n_embd: int = 768
    """Width of the residual stream (C)."""
    dropout: float = 0.0
    """Probability of dropping an activation in training; 0 for pretraining."""
    bias: bool = True
    """Biases in linear layers and LayerNorms: True as GPT-2 has them, False is a little faster."""

    def __post_init__(self) -> None:
        for name in ("block_size", "vocab_size", "n_layer", "n_head", "n_embd"):
            require_positive_int(name, getattr(self, name))
        if self.n_embd % self.n_head != 0:
            raise ConfigError(
                f"n_embd is {self.n_embd} and n_head is {self.n_head}; "
                "n_embd must be a multiple of n_head."
            )
        if (
            not isinstance(self.dropout, int | float)
            or isinstance(self.dropout, bool)
            or not 0 <= self.dropout < 1
        ):
            raise ConfigError(
                f"dropout is {self.dropout!r}; it must be a number of at least 0 and below 1."
            )
        if not isinstance(self.bias, bool):
            raise ConfigError(f"bias is {self.bias!r}; it must be True or False.")

    @property
    def head_size(self) -> int:
        """Width of one attention head (Q): n_embd / n_head."""
        return self.n_embd // self.n_head


def resolve_context(config: GPTConfig, context: int | None) -> int:
    """The sequence length to count: `context`, or the whole block when it is None.

    >>> resolve_context(GPTConfig(block_size=64), None)
    64
    """
    if context is None:
        return config.block_size
    require_positive_int("context", context)
    if context > config.block_size:
        raise ContextTooLongError(
            f"context is {context} tokens; this model has {config.block_size} positions "
            "(block_size)."
        )
    return context
