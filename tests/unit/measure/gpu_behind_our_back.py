"""What is trained on a GPU that runs behind our back, and what it takes there in truth."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mfubench_model.corpus import open_corpus
from torch import nn

from mfubench.measure import gpt_workload
from mfubench.measure.configured_loop import ConfiguredLoop
from mfubench.measure.gpt_workload import GPTWorkload
from mfubench.measure.train_step import TrainStep
from tests.conftest import TINY
from tests.virtual_gpu import VirtualCudaDevice, VirtualGpu

CLOSE = 0.02

Check = Callable[[VirtualGpu, VirtualCudaDevice], None]


def close(found: float, truth: float) -> bool:
    return abs(found / truth - 1) <= CLOSE


class FewKernels(GPTWorkload):
    """The optimizer in few kernels, because each costs the test its time."""

    def make_optimizer(self, model: nn.Module, device_type: str) -> torch.optim.Optimizer:
        return torch.optim.AdamW(model.parameters(), foreach=True)


@functools.cache
def workload() -> GPTWorkload:
    folder = tempfile.mkdtemp(prefix="mfubench-test-")
    corpus = open_corpus(None, vocab_size=65, block_size=8, cache_dir=Path(folder))
    return FewKernels(TINY, TINY.batch_size, corpus)


@contextlib.contextmanager
def data_takes(gpu: VirtualGpu, seconds: float) -> Iterator[None]:
    """Every batch that is drawn inside costs the host so much."""
    plain = gpt_workload.sample_batch

    def draw(*args: Any, **settings: Any) -> Any:
        gpu.work_on_host(seconds)
        return plain(*args, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpt_workload, "sample_batch", draw)
        yield


def bound_by(gpu: VirtualGpu, what: str) -> None:
    """Make a step of tiny kernels wait for the host's launches or for the device."""
    launch_s, kernel_s = {"host": (140e-6, 70e-6), "device": (70e-6, 140e-6)}[what]
    gpu.launch_s, gpu.least_kernel_s = launch_s, kernel_s


def free_run_s(gpu: VirtualGpu, iterate: Callable[[], object], steps: int = 24) -> float:
    """Seconds per step of a loop that nobody measures."""
    iterate()
    start_s = all_done(gpu)
    for _ in range(steps):
        iterate()
    return (all_done(gpu) - start_s) / steps


def all_done(gpu: VirtualGpu) -> float:
    """Let the host wait for the device, whatever is ignored; the time then."""
    gpu.host_s = max(gpu.host_s, *gpu.free_s.values())
    return gpu.host_s


def nanogpt_iteration(step: TrainStep, *, logs_every: int | None = None) -> Callable[[], None]:
    """The loop's body as anyone would write it, without any code of ours that waits."""
    parameters, count = list(step.model.parameters()), [0]
    batch = step.workload.sample_batch("train", step.device.torch_device)

    def iterate() -> None:
        nonlocal batch
        loss = step.workload.loss(step.model, batch)
        if logs_every:
            if isinstance(step, ConfiguredLoop):
                loss = loss / 1  # as nanoGPT, by its steps of gradient accumulation
            batch = step.workload.sample_batch("train", step.device.torch_device)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, step.workload.loop.grad_clip)
        step.optimizer.step()
        step.optimizer.zero_grad(set_to_none=True)
        if logs_every and count[0] % logs_every == 0:
            loss.detach().item()
        count[0] += 1

    return iterate


def unmarked(phase: str) -> contextlib.AbstractContextManager[Any]:
    return contextlib.nullcontext()
