"""The operators of a training step by themselves: at which shapes, and what runs them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from mfubench.hardware.devices import Device
from mfubench.measure.train_step import AUTOCAST_DTYPES, make_autocast
from mfubench.predict.rates import work_of

Run = Callable[[], object]

ELEMENTS = tuple(2**power for power in (8, 11, 14, 16, 18, 20, 22, 24))
"""1 KiB to 64 MiB of float32: from what is all overhead to what no cache holds, and what an
allocator asks the system for anew each time (glibc above 32 MiB)."""
ROWS = (32, 128, 512, 2048, 8192)
INPUTS = (16, 64, 256, 1024)
OUTPUTS = (16, 64, 256, 1024, 4096, 16384)
SEQUENCES, CONTEXTS, HEAD_SIZES = (4, 32, 256), (32, 128, 512, 1024), (16, 64)
LOSS_ROWS, VOCABULARIES = (32, 512, 8192), (64, 1024, 16384)
DROPOUT = 0.2
"""No time depends on how much is dropped."""
WIDTH = 128
"""Row length of what works on rows, and is in proportion to the elements."""
LARGEST = {"linear": 0.3e9, "attention": 0.1e9, "attention_dropout": 0.03e9, "loss": 2**24}
"""Work (`rates.work_of`) above which a shape is left out: it would take too long, and larger shapes
run at the same rate."""

COPIES = 12
"""At most so many of an operator in one graph, so that starting the graph weighs little; fewer
where they last longer than a round."""


def shapes(name: str) -> list[tuple[int, ...]]:
    """Where an operator is probed."""
    axes: Sequence[Sequence[int]] = {
        "linear": (ROWS, INPUTS, OUTPUTS),
        "attention": (SEQUENCES, CONTEXTS, HEAD_SIZES),
        "attention_dropout": (SEQUENCES, CONTEXTS, HEAD_SIZES),
        "loss": (LOSS_ROWS, VOCABULARIES),
        "step": ((1,),),
    }.get(name, (ELEMENTS,))
    most = LARGEST.get(name, math.inf)
    return [shape for shape in itertools.product(*axes) if work_of(name, shape) <= most]


def copies_of(name: str, shape: tuple[int, ...], device: Device, dtype: str, copies: int) -> Run:
    """What runs so many of an operator, forward and backward, in one graph."""
    if name == "step":
        return _steps(copies, device)
    make = _MAKERS.get(name)
    if make is None:
        return _optimizer(name, shape[0], copies, device)
    graphs = [make(shape, device, dtype) for _ in range(copies)]
    leaves = [leaf for inputs, _ in graphs for leaf in inputs]
    autocast = make_autocast(device.torch_device.type, dtype)
    with autocast:
        gradients = [torch.ones_like(forward()) for _, forward in graphs]

    def run() -> None:
        with autocast:
            outputs = [forward() for _, forward in graphs]
        torch.autograd.backward(outputs, gradients)
        for leaf in leaves:
            leaf.grad = None

    return run


Graph = tuple[list[Tensor], Callable[[], Tensor]]


def _stream(device: Device, dtype: torch.dtype, *shape: int) -> Tensor:
    return torch.randn(shape, device=device.torch_device).to(dtype).requires_grad_()


def _activation_dtype(dtype: str) -> torch.dtype:
    return AUTOCAST_DTYPES.get(dtype, torch.float32)


def _linear(shape: tuple[int, ...], device: Device, dtype: str) -> Graph:
    rows, inputs, outputs = shape
    x, weight = (
        _stream(device, torch.float32, rows, inputs),
        _stream(device, torch.float32, outputs, inputs),
    )
    return [x, weight], lambda: F.linear(x, weight)


def _attention(shape: tuple[int, ...], device: Device, dtype: str, dropout: float = 0.0) -> Graph:
    """As in the model: from queries, keys and values in one tensor to the heads side by side."""
    sequences, context, head_size = shape
    heads = math.gcd(sequences, 4)
    batch, width = sequences // heads, heads * head_size
    qkv = _stream(device, _activation_dtype(dtype), batch, context, 3 * width)

    def forward() -> Tensor:
        q, k, v = (
            part.view(batch, context, heads, head_size).transpose(1, 2)
            for part in qkv.split(width, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        return y.transpose(1, 2).contiguous().view(batch, context, width)

    return [qkv], forward


def _norm(shape: tuple[int, ...], device: Device, dtype: str) -> Graph:
    x = _stream(device, torch.float32, max(1, shape[0] // WIDTH), min(WIDTH, shape[0]))
    gain = _stream(device, torch.float32, x.shape[1])
    return [x, gain], lambda: F.layer_norm(x, gain.shape, gain, None, 1e-5)


def _dropout(shape: tuple[int, ...], device: Device, dtype: str) -> Graph:
    x = _stream(device, _activation_dtype(dtype), shape[0])
    return [x], lambda: F.dropout(x, DROPOUT, True)


def _gelu(shape: tuple[int, ...], device: Device, dtype: str) -> Graph:
    x = _stream(device, _activation_dtype(dtype), shape[0])
    return [x], lambda: F.gelu(x)


def _add(shape: tuple[int, ...], device: Device, dtype: str) -> Graph:
    """A residual sum: the gradients of both branches meet in another sum."""
    x = _stream(device, torch.float32, shape[0])
    y = _stream(device, _activation_dtype(dtype), shape[0])
    return [x, y], lambda: (x + y) + x


def _loss(shape: tuple[int, ...], device: Device, dtype: str) -> Graph:
    rows, vocabulary = shape
    logits = _stream(device, _activation_dtype(dtype), rows, vocabulary)
    targets = torch.randint(vocabulary, (rows,), device=device.torch_device)
    return [logits], lambda: F.cross_entropy(logits, targets, ignore_index=-1)


def _gather(shape: tuple[int, ...], device: Device, dtype: str) -> Graph:
    rows, width = max(1, shape[0] // WIDTH), min(WIDTH, shape[0])
    table = _stream(device, torch.float32, 64, width)
    ids = torch.randint(64, (rows,), device=device.torch_device)
    return [table], lambda: F.embedding(ids, table)


def _table(shape: tuple[int, ...], device: Device, dtype: str) -> Graph:
    """Few lookups in a large table, whose gradient meets another one."""
    rows, width = max(1, shape[0] // WIDTH), min(WIDTH, shape[0])
    table = _stream(device, torch.float32, rows, width)
    ids = torch.randint(rows, (8,), device=device.torch_device)
    return [table], lambda: F.embedding(ids, table)


_MAKERS: dict[str, Callable[[tuple[int, ...], Device, str], Graph]] = {
    "linear": _linear,
    "attention": _attention,
    "attention_dropout": partial(_attention, dropout=DROPOUT),
    "norm": _norm,
    "dropout": _dropout,
    "gelu": _gelu,
    "add": _add,
    "loss": _loss,
    "gather": _gather,
    "table": _table,
}


def _steps(steps: int, device: Device) -> Run:
    """Training steps of one number: starting a backward pass, clipping, AdamW, and dropping the
    gradient, with next to nothing to do."""
    weight = _stream(device, torch.float32, 1)
    optimizer = torch.optim.AdamW([weight], lr=1e-3, fused=True if device.kind == "cuda" else None)

    def run() -> None:
        for _ in range(steps):
            (weight * weight).sum().backward()
            torch.nn.utils.clip_grad_norm_([weight], 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return run


def _optimizer(name: str, elements: int, copies: int, device: Device) -> Run:
    """AdamW as nanoGPT makes it, or clipping, over a few tensors of a size."""
    tensors = [_stream(device, torch.float32, elements) for _ in range(copies)]
    for tensor in tensors:
        tensor.grad = torch.full_like(tensor, 1e-3)
    if name == "clip":
        return lambda: torch.nn.utils.clip_grad_norm_(tensors, 1.0)
    return torch.optim.AdamW(tensors, lr=1e-3, fused=True if device.kind == "cuda" else None).step
