"""What a rank's own device does, with all ranks at it: a product and a copy."""

from __future__ import annotations

import time

import torch

from mfubench.hardware.devices import Device

SIDE = {"cpu": 384}
"""Rows and columns of the product: large enough to be limited by arithmetic."""
GPU_SIDE = 4096
COPY_BYTES = 1 << 25
REPEATS = 7


def own_speed(device: Device) -> tuple[float, float]:
    """FLOP/s of a float32 product and bytes/s of a copy (read and written), the best of a few."""
    side = SIDE.get(device.kind, GPU_SIDE)
    left = torch.rand(side, side, device=device.torch_device)
    source = torch.rand(COPY_BYTES // 4, device=device.torch_device)
    target = torch.empty_like(source)
    product_s, copy_s = [], []
    for _ in range(REPEATS):
        start_s = time.perf_counter()
        left @ left
        device.synchronise()
        product_s.append(time.perf_counter() - start_s)
        start_s = time.perf_counter()
        target.copy_(source)
        device.synchronise()
        copy_s.append(time.perf_counter() - start_s)
    return 2 * side**3 / min(product_s), 2 * COPY_BYTES / min(copy_s)
