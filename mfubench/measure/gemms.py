"""The matrix products of a step, captured as they are dispatched and timed alone."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mfubench.hardware.devices import Device
from mfubench.measure.kernel_time import kernel_times_s
from mfubench.measure.train_step import TrainStep

ROUND_S = 0.004
ROUNDS = 7
"""Median over rounds of about 4 ms: short enough that fifteen shapes take half a second."""


@dataclass(frozen=True, slots=True)
class Gemm:
    """One matrix product: the operator, and each operand's shape, strides and dtype."""

    operator: str
    operands: tuple[tuple[tuple[int, ...], tuple[int, ...], torch.dtype], ...]

    @property
    def flops(self) -> int:
        """2·m·n·k."""
        (a, _, _), (b, _, _) = self.operands[-2:]
        return 2 * a[0] * a[1] * b[1]


class _Capture(TorchDispatchMode):
    """Notes every matrix product that passes, and lets it pass."""

    names = ("mm", "addmm")
    """Batched products are attention's own where it is not fused, and stay with its bar."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Counter[Gemm] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name in self.names:
            operands = tuple(
                (tuple(t.shape), tuple(t.stride()), t.dtype)
                for t in args
                if isinstance(t, torch.Tensor)
            )
            self.found[Gemm(name, operands)] += 1
        return func(*args, **(kwargs or {}))


def capture_gemms(step: TrainStep) -> Counter[Gemm]:
    """The products of one forward and backward pass of the uncompiled model, and how often each."""
    capture = _Capture()
    with capture:
        with step.autocast:
            loss = step.workload.loss(step.model, step.next_batch())
        loss.backward()
    step.optimizer.zero_grad(set_to_none=True)
    return capture.found


def time_alone(gemms: Counter[Gemm], device: Device) -> float:
    """Seconds per step that the products take, each back to back on operands of its own: the
    kernels' time, without their launches where the device can.

    The output is written to a buffer that is there already: allocation belongs to the product in
    place.
    """
    return sum(count * _alone_s(gemm, device) for gemm, count in gemms.items())


def _alone_s(gemm: Gemm, device: Device) -> float:
    operands = [
        torch.empty_strided(shape, strides, dtype=dtype, device=device.torch_device).normal_()
        for shape, strides, dtype in gemm.operands
    ]
    function = getattr(torch, gemm.operator)
    out = function(*operands)

    def once() -> None:
        function(*operands, out=out)

    times_s = kernel_times_s(device, once, round_s=ROUND_S, rounds=ROUNDS)
    return statistics.median(times_s)
