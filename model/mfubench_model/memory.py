"""How much memory one eager training step needs at its peak, to predict whether a batch fits before
it is tried.

Letters: L layers, H heads, C width, T context, V vocabulary, B batch, N = B·T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from mfubench_model.config import ConfigError, GPTConfig, require_positive_int
from mfubench_model.parameters import ParameterCount, parameter_count

_FLOAT32_BYTES = 4
_ID_BYTES = 8
_AUTOCAST_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class TrainingMemory:
    """Bytes that live together when backward starts, which is where a step is largest."""

    parameters_bytes: int
    """float32 weights, the tied table once."""
    gradients_bytes: int
    """float32 gradients. They fill as activations empty, so adding both is slightly pessimistic."""
    optimizer_bytes: int
    """AdamW: two float32 moments per parameter and a step counter per parameter tensor."""
    activations_bytes: int
    """What autograd saved for backward, token ids and targets included, parameters not."""
    cast_weights_bytes: int
    """Half-precision copies of the matmul weights that autocast made; 0 in float32."""
    logits_bytes: int
    """Logits in the caller's hand and two gradients of their size, none of them saved."""
    exact: bool
    """True where the saved activations are counted byte by byte; False marks an estimate."""

    @property
    def total_bytes(self) -> int:
        """All of it. Left out: allocator rounding, workspaces, the framework and the driver."""
        return (
            self.parameters_bytes
            + self.gradients_bytes
            + self.optimizer_bytes
            + self.activations_bytes
            + self.cast_weights_bytes
            + self.logits_bytes
        )


def training_memory(
    config: GPTConfig, batch_size: int, *, dtype: str = "float32", device_type: str = "cpu"
) -> TrainingMemory:
    """Memory of nanoGPT's eager training step on B full blocks. h is 4 in float32, 2 in autocast.

    Saved per layer, in bytes per token and unit of width (64 in float32, 36 in autocast):

    - 4 + 4      inputs of the two LayerNorms; the residual stream stays float32 in autocast
    - h + h      outputs of the two LayerNorms, as the next matmul reads them
    - 3·h + h    queries, keys and values, and the attention output
    - 4·h + 4·h  input and output of the GELU

    and besides, per token: 16 for mean and deviation of two LayerNorms, 4·H for attention's
    logsumexp. Once: token ids and targets 16·N, positions 8·T, the last LayerNorm (4 + h)·N·C +
    8·N, float32 log-probabilities 4·N·V, and 4 for the loss's weight.

    Exact for float32 without dropout and fused attention (the tests compare it with torch byte by
    byte). Estimates: autocast, where a device may cast elsewhere; dropout, which adds 2·L+1 masks
    (a byte per element on CUDA, a float on a CPU) and, on a CPU, turns fused attention off: three
    tables of B·H·T² per layer take the logsumexp's place. A compiled step saves less.

    Source: own count from the operators' saved tensors; Korthikanti et al. 2022 (arXiv 2205.05198),
    section 4, counts the same for half precision with dropout.

    >>> small = GPTConfig(block_size=64, vocab_size=65, n_layer=4, n_head=4, n_embd=128, bias=False)
    >>> memory = training_memory(small, 12)
    >>> memory.activations_bytes, memory.exact
    (26269188, True)
    """
    require_positive_int("batch_size", batch_size)
    half = _AUTOCAST_BYTES.get(dtype)
    if half is None:
        raise ConfigError(f"dtype is {dtype!r}; it must be one of {', '.join(_AUTOCAST_BYTES)}.")
    count = parameter_count(config)
    autocast = half != _FLOAT32_BYTES
    logits = batch_size * config.block_size * config.vocab_size
    return TrainingMemory(
        parameters_bytes=_FLOAT32_BYTES * count.total,
        gradients_bytes=_FLOAT32_BYTES * count.total,
        optimizer_bytes=_adamw_bytes(config, count),
        activations_bytes=_saved_bytes(config, batch_size, half)
        + _dropout_bytes(config, batch_size, half, device_type),
        cast_weights_bytes=half * count.matmul if autocast else 0,
        # The logits themselves, then float32 gradients before and after log-softmax.
        logits_bytes=logits * (half + 2 * _FLOAT32_BYTES),
        exact=not autocast and config.dropout == 0,
    )


def _adamw_bytes(config: GPTConfig, count: ParameterCount) -> int:
    """Two moments and, per parameter tensor, a float32 step: 6L+3 weights and 6L+1 biases."""
    tensors = 6 * config.n_layer + 3 + (6 * config.n_layer + 1 if config.bias else 0)
    return 2 * _FLOAT32_BYTES * count.total + _FLOAT32_BYTES * tensors


def _saved_bytes(config: GPTConfig, batch_size: int, half: int) -> int:
    """The table in `training_memory`, without dropout."""
    length, width = config.block_size, config.n_embd
    tokens = batch_size * length
    norm_input, norm_output = _FLOAT32_BYTES * tokens * width, half * tokens * width
    norm = norm_input + norm_output + 2 * _FLOAT32_BYTES * tokens
    attention = half * 4 * tokens * width + _FLOAT32_BYTES * tokens * config.n_head
    gelu = half * 8 * tokens * width
    loss = _FLOAT32_BYTES * tokens * config.vocab_size + _ID_BYTES * tokens + _FLOAT32_BYTES
    embedding = _ID_BYTES * (tokens + length)
    return embedding + config.n_layer * (2 * norm + attention + gelu) + norm + loss


def _dropout_bytes(config: GPTConfig, batch_size: int, half: int, device_type: str) -> int:
    """What dropout adds to what is saved; 0 without it."""
    if config.dropout == 0:
        return 0
    tokens = batch_size * config.block_size
    masks = (2 * config.n_layer + 1) * tokens * config.n_embd
    if device_type != "cpu":
        return masks
    scores = tokens * config.block_size * config.n_head
    logsumexp = _FLOAT32_BYTES * tokens * config.n_head
    return half * masks + config.n_layer * (3 * half * scores - logsumexp)
