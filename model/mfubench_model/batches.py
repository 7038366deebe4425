"""Draw a training batch as nanoGPT's `get_batch` does; its cost is part of a training loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from mfubench_model.corpus import TokenArray


def sample_batch(
    data: TokenArray,
    *,
    batch_size: int,
    block_size: int,
    device: torch.device,
    generator: torch.Generator | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets of shape (batch_size, block_size), targets one token further on.

    Starts are drawn uniformly on the CPU, copied out of the memory map as int64, and sent to CUDA
    from pinned memory without waiting. nanoGPT opens the map anew for each batch, against a leak in
    old numpy; here the caller holds it.
    """
    starts = torch.randint(len(data) - block_size, (batch_size,), generator=generator).tolist()
    x = torch.stack([_tokens(data, start, block_size) for start in starts])
    y = torch.stack([_tokens(data, start + 1, block_size) for start in starts])
    if device.type == "cuda":
        return (
            x.pin_memory().to(device, non_blocking=True),
            y.pin_memory().to(device, non_blocking=True),
        )
    return x.to(device), y.to(device)


def _tokens(data: TokenArray, start: int, length: int) -> torch.Tensor:
    return torch.from_numpy(data[start : start + length].astype(np.int64))
