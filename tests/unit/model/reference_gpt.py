"""A second GPT-2, written from its definition, to hold the first one against.

Pure functions over a state dict with nanoGPT's names: no modules, no fused operators, a masked
softmax spelled out, and the GELU through the error function.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

StateDict = dict[str, Tensor]


def random_state(
    *, layers: int, width: int, context: int, vocab: int, bias: bool, seed: int = 0
) -> StateDict:
    """Weights of nanoGPT's names and shapes; none is 0 or 1, so that each of them matters."""
    generator = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "transformer.wte.weight": (vocab, width),
        "transformer.wpe.weight": (context, width),
    }
    for layer in range(layers):
        block = f"transformer.h.{layer}."
        shapes[block + "ln_1.weight"] = (width,)
        shapes[block + "attn.c_attn.weight"] = (3 * width, width)
        shapes[block + "attn.c_proj.weight"] = (width, width)
        shapes[block + "ln_2.weight"] = (width,)
        shapes[block + "mlp.c_fc.weight"] = (4 * width, width)
        shapes[block + "mlp.c_proj.weight"] = (width, 4 * width)
    shapes["transformer.ln_f.weight"] = (width,)
    if bias:
        for name, shape in list(shapes.items()):
            if name.startswith(("transformer.h.", "transformer.ln_f.")):
                shapes[name.removesuffix("weight") + "bias"] = shape[:1]
    state = {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    state["lm_head.weight"] = state["transformer.wte.weight"]
    return state


def _linear(x: Tensor, state: StateDict, name: str) -> Tensor:
    y = x @ state[name + ".weight"].T
    return y + state[name + ".bias"] if name + ".bias" in state else y


def _layer_norm(x: Tensor, state: StateDict, name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    y = centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + 1e-5) * state[name + ".weight"]
    return y + state[name + ".bias"] if name + ".bias" in state else y


def _attention(x: Tensor, state: StateDict, name: str, heads: int) -> Tensor:
    length, width = x.shape[1:]
    size = width // heads
    qkv = _linear(x, state, name + ".c_attn")
    future = torch.ones(length, length).triu(1).bool()
    outputs = []
    for head in range(heads):
        q, k, v = (
            qkv[:, :, part * width + head * size : part * width + (head + 1) * size]
            for part in range(3)
        )
        scores = (q @ k.transpose(1, 2) / math.sqrt(size)).masked_fill(future, -math.inf)
        weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
        outputs.append(weights @ v)
    return _linear(torch.cat(outputs, -1), state, name + ".c_proj")


def _mlp(x: Tensor, state: StateDict, name: str) -> Tensor:
    x = _linear(x, state, name + ".c_fc")
    return _linear(x * (1 + torch.erf(x / math.sqrt(2))) / 2, state, name + ".c_proj")


def logits_and_loss(
    state: StateDict, ids: Tensor, targets: Tensor, *, layers: int, heads: int
) -> tuple[Tensor, Tensor]:
    """Logits (B, T, V) and the mean loss over targets that are not -1."""
    x = state["transformer.wte.weight"][ids] + state["transformer.wpe.weight"][: ids.shape[1]]
    for layer in range(layers):
        block = f"transformer.h.{layer}."
        x = x + _attention(_layer_norm(x, state, block + "ln_1"), state, block + "attn", heads)
        x = x + _mlp(_layer_norm(x, state, block + "ln_2"), state, block + "mlp")
    logits = _layer_norm(x, state, "transformer.ln_f") @ state["lm_head.weight"].T
    surprise = logits.logsumexp(-1) - logits.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return logits, surprise[targets != -1].mean()
