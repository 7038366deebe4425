"""The least memory traffic of one training step: every input read once, every output written once.

Each component is taken as one ideal kernel that keeps its intermediate values on the chip. Real
kernels move more (a matmul whose operands do not fit in cache reads them again; eager operators
write what the next one reads), so bytes / time is a lower bound of the bandwidth in use, and bytes
/ bandwidth a lower bound of the time.

Letters: L layers, H heads, C width, T context, V vocabulary, B batch, N = B·T tokens; a and w are
the bytes of one activation and of one weight. Token ids are int64 (8 bytes), as nanoGPT passes
them.
"""

from __future__ import annotations

from dataclasses import dataclass

from mfubench_model.config import GPTConfig, require_positive_int
from mfubench_model.parameters import parameter_count

TOKEN_ID_BYTES = 8
STATISTIC_BYTES = 4
"""LayerNorm's mean and reciprocal deviation, and attention's and the loss's logsumexp, stay
float32."""

COMPONENTS = (
    "embedding",
    "norm",
    "qkv",
    "attention",
    "projection",
    "mlp_matmul",
    "activation",
    "residual",
    "head",
    "loss",
)


@dataclass(frozen=True, slots=True)
class PhaseBytes:
    """Bytes that one component reads and writes in one step, by phase."""

    forward: int
    backward: int

    @property
    def total(self) -> int:
        """Forward and backward together."""
        return self.forward + self.backward


def _linear(tokens: int, inputs: int, outputs: int, *, bias: bool, a: int, w: int) -> PhaseBytes:
    """Y = X·W + b. Forward: X, W, b in, Y out. Backward: dY, X, W in, dX, dW, db out.

    dY feeds both backward matmuls and is counted once; two separate kernels read it twice.
    """
    x_bytes, y_bytes = a * tokens * inputs, a * tokens * outputs
    weight_bytes, bias_bytes = w * inputs * outputs, w * outputs if bias else 0
    return PhaseBytes(
        forward=x_bytes + weight_bytes + bias_bytes + y_bytes,
        backward=y_bytes + 2 * x_bytes + 2 * weight_bytes + bias_bytes,
    )


def _sum(*parts: PhaseBytes, times: int = 1) -> PhaseBytes:
    return PhaseBytes(
        times * sum(part.forward for part in parts), times * sum(part.backward for part in parts)
    )


def component_bytes(
    config: GPTConfig, batch_size: int, *, activation_bytes: int = 4, weight_bytes: int = 4
) -> dict[str, PhaseBytes]:
    """Least bytes moved per component in one step over B full blocks; what each reads + what each
    writes.

    - embedding  forward: ids, the distinct rows that N lookups can touch (at most V), T positions +
                 N·C.
                 backward: ids, N·C + both whole gradient tables (dense, as nanoGPT's are)
    - norm       2L+1 times. forward: N·C, gain (and bias) + N·C, mean and deviation per token.
                 backward: dY and X, gain, statistics + dX, dgain (dbias)
    - qkv, projection, mlp_matmul, head: see `_linear`; the two MLP matmuls are counted apart from
      the GELU
    - attention  fused. forward: Q, K, V + output, logsumexp per head and token.
                 backward: the same five and dOutput + dQ, dK, dV
    - activation GELU on 4·C. forward: X + Y. backward: X, dY + dX
    - residual   2L sums. forward: two in + one out. backward: the two gradients that meet at the
                 fork + their sum
    - loss       forward: logits, targets + logsumexp per token. backward: logits, logsumexp,
                 targets + dlogits. Eager torch writes and reads a whole table of log-probabilities
                 besides.

    Source: own count from the operators' definitions. Left out: dropout, the optimizer and clipping
    (see below), the sum of the head's and the embedding's gradient on the tied table, casts under
    autocast, and cache misses.

    >>> moved = component_bytes(GPTConfig(bias=False), batch_size=1)
    >>> moved["residual"].forward == 2 * 12 * 3 * 1024 * 768 * 4
    True
    """
    require_positive_int("batch_size", batch_size)
    a = require_positive_int("activation_bytes", activation_bytes)
    w = require_positive_int("weight_bytes", weight_bytes)
    layers, width, vocab, bias = config.n_layer, config.n_embd, config.vocab_size, config.bias
    tokens = batch_size * config.block_size
    stream = a * tokens * width  # one tensor of shape B·T·C
    ids = TOKEN_ID_BYTES * tokens
    statistic = STATISTIC_BYTES * tokens  # one float32 per token
    norm_parameters = w * width * (2 if bias else 1)
    logits = a * tokens * vocab

    norm = PhaseBytes(
        forward=2 * stream + norm_parameters + 2 * statistic,
        backward=3 * stream + w * width + norm_parameters + 2 * statistic,
    )
    logsumexp = statistic * config.n_head
    residual = PhaseBytes(forward=3 * stream, backward=3 * stream)
    mlp_up = _linear(tokens, width, 4 * width, bias=bias, a=a, w=w)
    mlp_down = _linear(tokens, 4 * width, width, bias=bias, a=a, w=w)
    return {
        "embedding": PhaseBytes(
            forward=ids + w * width * (min(tokens, vocab) + config.block_size) + stream,
            backward=ids + stream + w * width * (vocab + config.block_size),
        ),
        "norm": _sum(norm, times=2 * layers + 1),
        "qkv": _sum(_linear(tokens, width, 3 * width, bias=bias, a=a, w=w), times=layers),
        "attention": _sum(
            PhaseBytes(forward=4 * stream + logsumexp, backward=8 * stream + logsumexp),
            times=layers,
        ),
        "projection": _sum(_linear(tokens, width, width, bias=bias, a=a, w=w), times=layers),
        "mlp_matmul": _sum(mlp_up, mlp_down, times=layers),
        "activation": _sum(PhaseBytes(forward=8 * stream, backward=12 * stream), times=layers),
        "residual": _sum(residual, times=2 * layers),
        "head": _linear(tokens, width, vocab, bias=False, a=a, w=w),
        "loss": PhaseBytes(forward=logits + ids + statistic, backward=2 * logits + ids + statistic),
    }


def optimizer_bytes_per_step(config: GPTConfig) -> int:
    """AdamW on float32: reads parameter, gradient and both moments, writes parameter and both
    moments: 7·4·P.

    Source: Loshchilov and Hutter 2019 (arXiv 1711.05101), algorithm 2. Left out: the unfused
    optimizer's temporaries.

    >>> optimizer_bytes_per_step(GPTConfig(bias=False)) == 28 * 124_373_760
    True
    """
    return 7 * 4 * parameter_count(config).total


def clip_bytes_per_step(config: GPTConfig) -> int:
    """Clipping by the global norm on float32: reads all gradients for the norm, then reads and
    writes them: 3·4·P.

    The norm must be known before the first gradient is scaled, so one pass is not enough.

    >>> clip_bytes_per_step(GPTConfig(bias=False)) == 12 * 124_373_760
    True
    """
    return 3 * 4 * parameter_count(config).total
