"""Accounts and memory, on a GPU that runs behind our back and whose book is known."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

import pytest
import torch

from mfubench.analysis import components
from mfubench.analysis.intervals import total, union
from mfubench.measure import ablation
from mfubench.measure.profile_rows import operators
from mfubench.measure.profiler_events import ProfileError
from mfubench.measure.profiling import profile_step
from mfubench.measure.train_loop import TrainLoop
from mfubench.measure.train_step import TrainStep
from tests.unit.measure.gpu_behind_our_back import (
    CLOSE,
    all_done,
    bound_by,
    close,
    free_run_s,
    unmarked,
    workload,
)
from tests.virtual_gpu import VirtualGpu, behind_our_back

BARS = {
    components.NORM: ("native_layer_norm", "native_layer_norm_backward"),
    components.ACTIVATION: ("gelu", "gelu_backward"),
    components.LOSS: (
        "_log_softmax",
        "_log_softmax_backward_data",
        "nll_loss_forward",
        "nll_loss_backward",
    ),
}
"""The kernels whose bar has nothing else in it."""


def kernels_per_step(gpu: VirtualGpu, step: TrainStep, steps: int = 4) -> dict[str, float]:
    """Seconds per step of each kernel, from the device's own book."""
    gpu.kernels.clear()
    for _ in range(steps):
        step.iterate(unmarked)
    all_done(gpu)
    seconds: Counter[str] = Counter()
    for kernel in gpu.kernels:
        seconds[kernel.name.removesuffix("_kernel")] += kernel.length_s / steps  # type: ignore[assignment]
    return dict(seconds)


def bars_of(step: TrainStep, step_s: float) -> dict[str, float]:
    """The bars of a step by the product's own account."""
    profile = profile_step(step, event_cost_s=0.0)
    found: Counter[str] = Counter()
    for row in operators(profile, on_host=False, device_step_s=step_s):
        found[row.component] += row.seconds  # type: ignore[assignment]
    return dict(found)


@pytest.mark.parametrize("bound", ["host", "device"])
@pytest.mark.parametrize("attached_s", [0.0, 20e-6])
def test_an_account_is_the_devices_own_book(bound: str, attached_s: float) -> None:
    """Whatever the profiler costs the host, while it runs and after."""
    gpu = VirtualGpu()
    bound_by(gpu, bound)
    gpu.profiled_event_s, gpu.attached_launch_s = 10e-6, attached_s
    with behind_our_back(gpu) as device:
        loop = TrainLoop(workload(), device, dtype="float32", compile=False)
        with contextlib.closing(loop):
            step_s = free_run_s(gpu, lambda: loop.iterate(unmarked))
            truth = kernels_per_step(gpu, loop)
            bars = bars_of(loop, step_s)
    for bar, names in BARS.items():
        assert close(bars[bar], sum(truth[name] for name in names)), bar
    # Without autograd's numbers attention's products of the backward pass stay with the others.
    products_s = truth["mm"] + truth["bmm"] * 4 / 6
    assert close(bars[components.GEMM], products_s)
    idle_s = sum(bars.values()) - sum(truth.values())
    assert close(sum(bars.values()), step_s)
    assert abs(idle_s - (step_s - sum(truth.values()))) <= CLOSE * step_s


@pytest.mark.parametrize("bound", ["host", "device"])
def test_a_component_taken_out_saves_its_kernels(bound: str) -> None:
    """Also where the step waits for launches, and would save those."""
    gpu = VirtualGpu()
    bound_by(gpu, bound)
    with behind_our_back(gpu) as device:
        step = TrainStep(workload(), device, dtype="float32", compile=False)
        step()
        truth = kernels_per_step(gpu, step)
        saved_s = ablation.saving_s(step, "activation", dtype="float32", pairs=3)
    assert close(saved_s, truth["gelu"] + truth["gelu_backward"])


def test_streams_that_overlap_are_busy_once() -> None:
    gpu = VirtualGpu()
    bound_by(gpu, "device")
    with behind_our_back(gpu) as device:
        step = OverlappingStep(workload(), device, dtype="float32", compile=False)
        step.gpu = gpu
        profile = profile_step(step, event_cost_s=0.0)
        gpu.kernels.clear()
        step()
    intervals = [(round(k.start_s * 1e9), round(k.end_s * 1e9)) for k in gpu.kernels]
    assert close(profile.device_busy_s, total(union(intervals)) * 1e-9)
    assert close(profile.device_sum_s, sum(k.length_s for k in gpu.kernels))
    assert profile.device_sum_s > 1.1 * profile.device_busy_s
    rows = operators(profile, on_host=False)
    assert close(sum(row.seconds for row in rows), profile.step_s)
    assert "kernels that link to no operator" not in {row.name for row in rows}


class OverlappingStep(TrainStep):
    """A step that copies something on a stream of its own."""

    gpu: VirtualGpu

    def forward(self, batch: Any) -> torch.Tensor:
        with self.gpu.on_stream(1):
            held = torch.ones(1000, device=self.device.torch_device)
            for _ in range(40):
                held.mul_(2)
        return super().forward(batch)


@pytest.mark.parametrize("lost", ["one in ten", "all"])
def test_kernels_without_a_record_are_no_idle_time(lost: str) -> None:
    gpu = VirtualGpu()
    bound_by(gpu, "device")
    gpu.loses = (lambda kernel: gpu.launches % 10 == 0) if lost != "all" else lambda kernel: True
    says = {
        "one in ten": "lost the records of at least 9 %",
        "all": "gives no kernel times on cuda",
    }
    with behind_our_back(gpu) as device:
        step = TrainStep(workload(), device, dtype="float32", compile=False)
        with pytest.raises(ProfileError, match=says[lost]):
            profile_step(step, event_cost_s=0.0)


def test_steps_that_lost_records_are_left_out() -> None:
    gpu = VirtualGpu()
    bound_by(gpu, "device")
    with behind_our_back(gpu) as device:
        step = TrainStep(workload(), device, dtype="float32", compile=False)
        whole = profile_step(step, event_cost_s=0.0)
        steps = [0]
        plain = step.next_batch

        def counted() -> Any:
            steps[0] += 1
            return plain()

        step.next_batch = counted  # type: ignore[method-assign]
        gpu.loses = lambda kernel: steps[0] % 2 == 0
        halved = profile_step(step, event_cost_s=0.0)
    assert close(halved.device_busy_s, whole.device_busy_s)


def test_memory_is_that_of_the_tensors() -> None:
    gpu = VirtualGpu()
    gpu.counts_memory = True
    with behind_our_back(gpu) as device:
        device.reset_peak_memory()
        before = device.available_memory_bytes()
        held = torch.empty(2**20, device=device.torch_device)
        freed = torch.empty(3 * 2**20, device=device.torch_device)
        del freed
        assert device.peak_memory_bytes() == 4 * 2**22
        assert before - device.available_memory_bytes() == held.nbytes == 2**22  # type: ignore[operator]
        device.restart_peak_memory()
        assert device.peak_memory_bytes() == 2**22
