"""The training step that is timed: forward, backward, clip, optimizer, one synchronisation."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from mfubench.analysis import components
from mfubench.hardware.devices import Device
from mfubench.measure.workload import Batch, Workload, fixed_batches

SEED = 1337
"""nanoGPT's."""

FIXED_BATCHES = 8
"""Batches sampled before timing and taken in turn; one alone would soon be learnt by heart."""

Phase = Callable[[str], contextlib.AbstractContextManager[Any]]

_UNMARKED = contextlib.nullcontext()


def unmarked(phase: str) -> contextlib.AbstractContextManager[Any]:
    """No mark around a phase: nothing but the step."""
    return _UNMARKED


AUTOCAST_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class TrainStep:
    """One optimizer step per call, on data that is already on the device.

    `dtype` is the type the matmuls run in: float32 (strict), tf32 (float32 storage, NVIDIA's
    tensor cores), bfloat16 or float16 (autocast; float16 with a gradient scaler, as nanoGPT does).
    A call returns when the device has finished it.
    """

    def __init__(
        self,
        workload: Workload,
        device: Device,
        *,
        dtype: str,
        compile: bool,
        compile_options: dict[str, Any] | None = None,
        compile_mode: str | None = None,
        seed: int = SEED,
    ) -> None:
        torch.manual_seed(seed)
        self.workload = workload
        self.device = device
        self._torch_device = device.torch_device
        model = workload.make_model().to(self._torch_device)
        self._parameters = list(model.parameters())  # walking the modules every step costs 0.3 %
        self.optimizer = workload.make_optimizer(model, self._torch_device.type)
        self.model = model
        self.compiled = compile
        self._forward_model = model
        if compile:
            compiled = torch.compile(model, options=compile_options, mode=compile_mode)
            self._forward_model = cast(nn.Module, compiled)
        self.autocast = make_autocast(self._torch_device.type, dtype)
        self._scaler = make_scaler(self._torch_device.type, dtype)
        self._batches = itertools.cycle(self._drawn_before())
        self._grad_clip = workload.loop.grad_clip
        self.last_loss: Tensor = torch.full((), float("nan"))

    def _drawn_before(self) -> Iterable[Batch]:
        return fixed_batches(self.workload, self._torch_device, FIXED_BATCHES)

    def __call__(self) -> None:
        self.run(unmarked)

    def run(self, phase: Phase) -> None:
        """One step, each phase of it inside `phase(its name)`, and the device has finished it."""
        self.iterate(phase)
        self.device.synchronise()

    def run_several(self, steps: int) -> None:
        """So many steps as a training loop repeats them: the host runs ahead of the device, and
        waits for it once, at the end."""
        for _ in range(steps):
            self.iterate(unmarked)
        self.device.synchronise()

    def iterate(self, phase: Phase) -> None:
        """One step as `run`, which a device with a queue may still be busy with at the end."""
        with phase(components.FORWARD):
            loss = self.forward(self.next_batch())
        self.update(loss, phase)

    def next_batch(self) -> Batch:
        """The next of the fixed batches."""
        return next(self._batches)

    def forward(self, batch: Batch) -> Tensor:
        with self.autocast:
            return self.workload.loss(self._forward_model, batch)

    def update(self, loss: Tensor, phase: Phase) -> None:
        """Backward, clip, optimizer step, gradients dropped."""
        with phase(components.BACKWARD):
            self.backward(loss)
        with phase(components.CLIP):
            self.clip()
        with phase(components.OPTIMIZER):
            self.optimize()
        self.last_loss = loss.detach()

    def backward(self, loss: Tensor) -> None:
        (loss if self._scaler is None else self._scaler.scale(loss)).backward()

    def clip(self) -> None:
        """Clip by the global norm, unscaled; a norm of 0 turns it off, as in nanoGPT."""
        if self._grad_clip:
            if self._scaler is not None:
                self._scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self._parameters, self._grad_clip)

    def optimize(self) -> None:
        """One optimizer step, through the scaler where there is one; gradients are dropped."""
        if self._scaler is None:
            self.optimizer.step()
        else:
            self._scaler.step(self.optimizer)
            self._scaler.update()
        self.zero_grad()

    def zero_grad(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)


def make_autocast(device_type: str, dtype: str) -> contextlib.AbstractContextManager[Any]:
    """Autocast for the dtypes that need it; nothing for the others. May be entered repeatedly."""
    if dtype in AUTOCAST_DTYPES:
        return torch.autocast(device_type, dtype=AUTOCAST_DTYPES[dtype])
    return contextlib.nullcontext()


def make_scaler(device_type: str, dtype: str) -> torch.amp.GradScaler | None:
    """A gradient scaler for float16, whose small gradients would else be zero."""
    return torch.amp.GradScaler(device_type) if dtype == "float16" else None


def use_once(device: Device) -> None:
    """Train something tiny once: torch loads libraries and starts threads at their first use, and
    that memory belongs to the process, not to the case that comes first."""
    model = nn.TransformerEncoderLayer(64, 1, 128, batch_first=True).to(device.torch_device)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(2, 8, 64, device=device.torch_device)).sum().backward()
    optimizer.step()
    device.synchronise()
