"""AdamW as nanoGPT sets it up: matrices decay, vectors do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


def adamw_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups: tensors of two or more dimensions decay, biases and LayerNorm gains do not.

    A tied table is one parameter and appears once, as `Module.parameters()` gives it.

    >>> groups = adamw_groups(nn.Linear(3, 2), 0.1)
    >>> [(group["weight_decay"], [tuple(p.shape) for p in group["params"]]) for group in groups]
    [(0.1, [(2, 3)]), (0.0, [(2,)])]
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]


def make_adamw(
    model: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
    betas: tuple[float, float],
    device_type: str,
    kernel: Mapping[str, bool] | None = None,
) -> torch.optim.AdamW:
    """nanoGPT's `configure_optimizers`: the fused kernel on CUDA, torch's default elsewhere.

    Elsewhere means None and not False: torch then picks its own loop, which is what nanoGPT's users
    run. `kernel` names another implementation by AdamW's own arguments: foreach, fused.
    """
    if kernel is None:
        kernel = {"fused": True} if device_type == "cuda" else {}
    return torch.optim.AdamW(
        adamw_groups(model, weight_decay),
        lr=learning_rate,
        betas=betas,
        **kernel,
    )
