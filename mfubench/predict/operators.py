"""The operators of a training step of nanoGPT's GPT: which, of what shape, and how many.

Letters: L layers, H heads, C width, Q = C/H head size, T context, V vocabulary, B batch, N = B·T
tokens. What one operator costs is for `rates.py`; this is the count.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from mfubench.predict.document import OperatorName, Setting

MATMUL, ATTENTION, MEMORY, OPTIMIZER = "matmul", "attention", "memory", "optimizer"
GROUPS = (MATMUL, ATTENTION, MEMORY, OPTIMIZER)


TERMS: Mapping[OperatorName, tuple[str, str]] = {
    "step": ("launches", MEMORY),
    "linear": ("matrix products", MATMUL),
    "attention": ("attention", ATTENTION),
    "attention_dropout": ("attention", ATTENTION),
    "dropout": ("dropout", MEMORY),
    "norm": ("normalisation", MEMORY),
    "gelu": ("activation", MEMORY),
    "add": ("element by element", MEMORY),
    "gather": ("embedding", MEMORY),
    "table": ("embedding", MEMORY),
    "loss": ("loss", MEMORY),
    "clip": ("clip", OPTIMIZER),
    "adamw": ("optimizer", OPTIMIZER),
}
"""Of each operator the line of the prediction that it belongs to, and what is fitted together."""
FUSING = frozenset({"dropout", "norm", "gelu", "add", "gather", "loss"})
"""Those that torch.compile puts into a kernel with their neighbours."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator, forward and backward together, `count` times in a step."""

    name: OperatorName
    shape: tuple[int, ...]
    count: int

    @property
    def term(self) -> str:
        """Its line of the prediction."""
        return TERMS[self.name][0]

    @property
    def group(self) -> str:
        """What it is fitted together with."""
        return TERMS[self.name][1]

    @property
    def elements(self) -> int:
        """The product of the shape."""
        return math.prod(self.shape)


def operators(setting: Setting) -> Iterator[Operator]:
    """The operators of one optimizer step.

    Per layer: four linear layers (3·C, C, 4·C, C outputs), attention, two LayerNorms, a GELU on
    4·C, two residual sums. Once: the embeddings, the last LayerNorm, the head, the loss. Clipping
    and AdamW go through every parameter tensor: 6·L + 3 of them, and 6·L + 1 biases.

    Source: mfubench_model/gpt.py.

    >>> from mfubench_model.flops import model_flops_per_step
    >>> setting = Setting(preset=None, device="cpu", dtype="float32", batch_size=12, block_size=64,
    ...                   compile=False, n_layer=4, n_head=4, n_embd=128, vocab_size=65)
    >>> products = sum(6 * o.elements * o.count for o in operators(setting) if o.name == "linear")
    >>> products + 6 * 4 * 128 * 65 * 768 == model_flops_per_step(setting.config, 12)
    True
    """
    batches = setting.gradient_accumulation_steps
    yield Operator("step", (1,), 1)
    for operator in _of_a_batch(setting):
        yield replace(operator, count=batches * operator.count)
    for elements, count in tensors(setting):
        yield Operator("clip", (elements,), count)
        yield Operator("adamw", (elements,), count)


def _of_a_batch(setting: Setting) -> Iterator[Operator]:
    """Forward and backward of one batch."""
    layers, width, vocab = setting.n_layer, setting.n_embd, setting.vocab_size
    head_size = setting.n_embd // setting.n_head
    tokens = setting.batch_size * setting.block_size
    for outputs, inputs in ((3, 1), (1, 1), (4, 1), (1, 4)):
        shape = (tokens, inputs * width, outputs * width)
        yield Operator("linear", shape, layers)
    yield Operator("linear", (tokens, width, vocab), 1)
    shape = (setting.batch_size * setting.n_head, setting.block_size, head_size)
    attention: OperatorName = "attention_dropout" if setting.dropout else "attention"
    yield Operator(attention, shape, layers)
    stream = (tokens * width,)
    if setting.dropout:
        yield Operator("dropout", stream, 2 * layers + 1)
    yield Operator("norm", stream, 2 * layers + 1)
    yield Operator("gelu", (4 * tokens * width,), layers)
    yield Operator("add", stream, 2 * layers + 1)
    yield Operator("gather", stream, 1)
    yield Operator("gather", (setting.block_size * width,), 1)
    # The gradient of a table is a table; the head's gradient is added to it.
    yield Operator("table", (vocab * width,), 1)
    yield Operator("table", (setting.block_size * width,), 1)
    yield Operator("loss", (tokens, vocab), 1)


def tensors(setting: Setting) -> list[tuple[int, int]]:
    """Sizes of the parameter tensors, and how many of each: what the optimizer loops over.

    >>> from mfubench_model.parameters import parameter_count
    >>> setting = Setting(preset=None, device="cpu", dtype="float32", batch_size=1, block_size=64,
    ...                   compile=False, n_layer=4, n_head=4, n_embd=128, vocab_size=65, bias=True)
    >>> sum(size * n for size, n in tensors(setting)) == parameter_count(setting.config).total
    True
    """
    layers, width = setting.n_layer, setting.n_embd
    found = [
        (setting.vocab_size * width, 1),
        (setting.block_size * width, 1),
        (3 * width * width, layers),
        (width * width, layers),
        (4 * width * width, 2 * layers),
        (width, 2 * layers + 1),
    ]
    if setting.bias:
        found += [(3 * width, layers), (width, 2 * layers), (4 * width, layers)]
        found += [(width, 2 * layers + 1)]
    return found
