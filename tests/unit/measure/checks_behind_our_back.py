"""Everything that measures times, on a GPU whose times are known: each check measures with the
product's own code and compares with the truth, within 2 %."""

from __future__ import annotations

import contextlib
import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mfubench.hardware import ceilings
from mfubench.measure import configured_loop, warmup
from mfubench.measure.bandwidth import SIZES_BYTES, measure_curve
from mfubench.measure.bare import bare_step
from mfubench.measure.configured_loop import ConfiguredLoop
from mfubench.measure.gemms import Gemm, time_alone
from mfubench.measure.kernel_time import kernel_times_s
from mfubench.measure.loop_config import LoopConfig
from mfubench.measure.profiler_events import event_cost
from mfubench.measure.train_loop import TrainLoop
from mfubench.measure.train_step import TrainStep, use_once
from mfubench.measure.windows import Window, steps_per_window
from mfubench.pairs.pairing import there_and_back
from mfubench.pairs.timed_loop import TimedLoop
from mfubench.suite.timer import PlainTimer
from mfubench.timing import time_s
from tests.conftest import TINY
from tests.unit.measure.gpu_behind_our_back import (
    Check,
    all_done,
    bound_by,
    close,
    data_takes,
    free_run_s,
    nanogpt_iteration,
    unmarked,
    workload,
)
from tests.virtual_gpu import VirtualCudaDevice, VirtualGpu


def check_matrix_products_reach_the_rate(gpu: VirtualGpu, device: VirtualCudaDevice) -> None:
    kernel = ceilings.gemm_kernel(device, "float32", (2048, 2048, 2048), "nt")
    rounds_s = [time_s(kernel.run) for _ in range(10)]
    assert close(ceilings.sustained(rounds_s, kernel.work).rate_per_s, gpu.flops_per_s)


def check_the_search_finds_the_rate(gpu: VirtualGpu, device: VirtualCudaDevice) -> None:
    _, tried = ceilings.best_gemm(device, "tf32", budget_s=2.0)
    assert len(tried) > 3
    assert all(close(shape["flops_per_s"], gpu.flops_per_s) for shape in tried)


def check_bandwidth_is_that_of_memory(gpu: VirtualGpu, device: VirtualCudaDevice) -> None:
    for make in ceilings.BANDWIDTH_KERNELS.values():
        kernel = make(device)
        rounds_s = [time_s(kernel.run) for _ in range(10)]
        assert close(ceilings.sustained(rounds_s, kernel.work).rate_per_s, gpu.bytes_per_s)


def check_dispatch_is_the_launch_rate(gpu: VirtualGpu, device: VirtualCudaDevice) -> None:
    gpu.launch_s = 50e-6
    kernel = ceilings.dispatch_kernel(device)
    rate = kernel.work / min(time_s(kernel.run) for _ in range(5))
    assert close(rate, 1 / gpu.launch_s)


def check_small_working_sets_are_not_launch_bound(
    gpu: VirtualGpu, device: VirtualCudaDevice
) -> None:
    gpu.launch_s, gpu.least_kernel_s = 50e-6, 10e-6
    curve = measure_curve(device)
    for size in SIZES_BYTES:
        moved = 12 * (size // 12)
        rate = gpu.cached_bytes_per_s if moved <= gpu.cache_bytes else gpu.bytes_per_s
        assert close(curve.bytes_per_s[size], moved / max(gpu.least_kernel_s, moved / rate))


F32 = torch.float32
SMALL = Gemm("mm", (((64, 64), (64, 1), F32), ((64, 64), (64, 1), F32)))
LARGE = Gemm("mm", (((2048, 2048), (2048, 1), F32), ((2048, 2048), (2048, 1), F32)))


def check_products_alone_are_not_launch_bound(gpu: VirtualGpu, device: VirtualCudaDevice) -> None:
    gpu.launch_s, gpu.least_kernel_s = 50e-6, 10e-6
    small_s = time_alone(Counter({SMALL: 3}), device)
    assert close(small_s, 3 * max(gpu.least_kernel_s, SMALL.flops / gpu.flops_per_s))
    large_s = time_alone(Counter({LARGE: 2}), device)
    assert close(large_s, 2 * LARGE.flops / gpu.flops_per_s)


def check_kernels_are_timed_without_events_and_graphs(
    gpu: VirtualGpu, device: VirtualCudaDevice
) -> None:
    gpu.Event = gpu.CUDAGraph = None  # type: ignore[assignment, method-assign]
    a = torch.ones(2048, 2048, device=device.torch_device)
    out = torch.empty_like(a)
    times_s = kernel_times_s(device, lambda: torch.mm(a, a, out=out), round_s=0.02, rounds=3)
    assert close(statistics.median(times_s), 2 * 2048**3 / gpu.flops_per_s)


def check_a_step_ends_when_the_device_has_finished_it(
    gpu: VirtualGpu, device: VirtualCudaDevice
) -> None:
    for what in ("host", "device"):
        bound_by(gpu, what)
        step = TrainStep(workload(), device, dtype="float32", compile=False)
        step()
        start_s = all_done(gpu)
        found_s = time_s(step)
        assert close(found_s, gpu.kernels[-1].end_s - start_s)


def check_windows_are_as_fast_as_a_loop_that_nobody_measures(
    gpu: VirtualGpu, device: VirtualCudaDevice
) -> None:
    for what in ("host", "device"):
        bound_by(gpu, what)
        step = TrainStep(workload(), device, dtype="float32", compile=False)
        truth_s = free_run_s(gpu, nanogpt_iteration(step))
        calls, timer = steps_per_window(device, truth_s), PlainTimer()
        step.run_several(2)
        timer.time(Window(step, calls), rounds=2, calls=calls)
        assert calls > 3
        assert close(statistics.median(timer.rounds_s), truth_s)


def check_several_steps_are_as_fast_too(gpu: VirtualGpu, device: VirtualCudaDevice) -> None:
    bound_by(gpu, "device")
    step = TrainStep(workload(), device, dtype="float32", compile=False)
    truth_s = free_run_s(gpu, nanogpt_iteration(step))
    assert close(time_s(lambda: step.run_several(12)) / 12, truth_s)


def check_the_loop_waits_where_nanogpt_waits(gpu: VirtualGpu, device: VirtualCudaDevice) -> None:
    gpu.launch_s, gpu.least_kernel_s = 40e-6, 240e-6
    loop = TrainLoop(workload(), device, dtype="float32", compile=False)
    loop()
    before = len(gpu.kernels)
    loop()
    # Half a step: run-ahead hides it, but in the iteration after one that logs.
    data_s = 0.5 * gpu.least_kernel_s * (len(gpu.kernels) - before)
    with contextlib.closing(loop), data_takes(gpu, data_s):
        every = loop.workload.loop.log_interval
        truth_s = free_run_s(gpu, nanogpt_iteration(loop, logs_every=every))
        assert close(time_s(lambda: loop.run_several(24)) / 24, truth_s)


def evaluation_truth_s(gpu: VirtualGpu, step: TrainStep) -> float:
    def evaluate() -> None:
        batch = step.workload.sample_batch("val", step.device.torch_device)
        with torch.no_grad():
            step.workload.loss(step.model, batch).item()

    return free_run_s(gpu, evaluate, steps=8)


def check_evaluation_and_checkpoint(gpu: VirtualGpu, device: VirtualCudaDevice) -> None:
    bound_by(gpu, "device")
    checkpoint_s = 0.1
    loop = TrainLoop(workload(), device, dtype="float32", compile=False)
    loop()
    truth_s = evaluation_truth_s(gpu, loop)

    def save(state: object, path: Path) -> None:
        gpu.host_s = all_done(gpu) + checkpoint_s

    with contextlib.closing(loop), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "save", save)
        found = loop.time_evaluation_and_checkpoint(budget_s=1.0)
    assert close(found.evaluation_s, 2 * loop.workload.loop.eval_iters * truth_s)
    assert close(found.checkpoint_s, checkpoint_s)


@contextlib.contextmanager
def timed_loop(device: VirtualCudaDevice, **changes: Any) -> Iterator[TimedLoop]:
    """A loop of a configuration as a side of a pairing has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(configured_loop, "parse_device", lambda name: device)
        patch.setattr(configured_loop, "get_preset", lambda name: replace(TINY, log_interval=2))
        config = LoopConfig(
            **{"device": "meta", "batch_size": TINY.batch_size, "optimizer": "foreach", **changes}
        )
        with contextlib.closing(TimedLoop(ConfiguredLoop(config, workload().corpus))) as loop:
            yield loop


def check_a_turn_is_as_fast_as_a_loop_that_nobody_measures(
    gpu: VirtualGpu, device: VirtualCudaDevice
) -> None:
    gpu.launch_s, gpu.least_kernel_s = 100e-6, 120e-6
    with timed_loop(device) as side:
        side.turn(2)
        truth_s = free_run_s(gpu, nanogpt_iteration(side.loop, logs_every=2))
        found = side.turn(24, evaluation=True)
        assert close(found["step_s"], truth_s)
        assert close(found["evaluation_s"], evaluation_truth_s(gpu, side.loop))
        assert close(side.evaluate(4)["seconds"], 4 * evaluation_truth_s(gpu, side.loop))


def check_an_evaluation_waits_for_its_value(gpu: VirtualGpu, device: VirtualCudaDevice) -> None:
    bound_by(gpu, "device")
    with timed_loop(device) as side:
        side.turn(2)
        found_s = side.evaluate(1)["seconds"]
        assert close(found_s, evaluation_truth_s(gpu, side.loop))


def check_sides_in_turns_find_what_a_change_is_worth(
    gpu: VirtualGpu, device: VirtualCudaDevice
) -> None:
    bound_by(gpu, "device")
    with timed_loop(device) as base, timed_loop(device, gradient_accumulation=3) as changed:
        sides = {base: 12, changed: 6}
        for side in sides:
            side.turn(2)
        truth_s = [free_run_s(gpu, lambda s=side: s.loop.iterate(unmarked), 12) for side in sides]  # type: ignore[misc]
        times_s: dict[TimedLoop, list[float]] = {side: [] for side in sides}
        for order in there_and_back(list(sides), 2):
            for side in order:
                times_s[side].append(side.turn(sides[side])["step_s"])
    found = statistics.median(times_s[changed]) / statistics.median(times_s[base])
    assert truth_s[1] > 1.5 * truth_s[0]
    assert close(found, truth_s[1] / truth_s[0])


def check_planted_work_and_the_control_are_timed_apart(
    gpu: VirtualGpu, device: VirtualCudaDevice
) -> None:
    bound_by(gpu, "device")
    with timed_loop(device) as side:
        started = side.start(4)
        assert close(started["step_s"], time_s(side.loop))
        plain = side.turn(1)
        found = side.turn(3, control=True, planted_ratio=0.5)
        control_s = gpu.least_kernel_s + gpu.launch_s + 1e-6  # the synchronisation itself
        assert close(found["control_s"], 3 * control_s)
        assert close(found["extra_s"], round(found["extra_s"] / control_s) * control_s)
        assert abs(found["extra_s"] / started["step_s"] - 0.5) < 0.05
        assert plain["extra_s"] == 0


def check_the_bare_loop_waits_for_its_step(gpu: VirtualGpu, device: VirtualCudaDevice) -> None:
    bound_by(gpu, "device")
    step = TrainStep(workload(), device, dtype="float32", compile=False)
    bare = bare_step(step)
    bare()
    assert close(time_s(bare) / time_s(step), 1.0)
    assert close(time_s(step) / time_s(bare), 1.0)


def check_the_profilers_cost_per_event(gpu: VirtualGpu, device: VirtualCudaDevice) -> None:
    gpu.launch_s, gpu.least_kernel_s, gpu.profiled_event_s = 50e-6, 1e-6, 4e-6
    assert close(event_cost(device, rounds=2, repeats=3), gpu.profiled_event_s)
    gpu.least_kernel_s = 500e-6  # the device's own time hides the profiler's
    assert event_cost(device, rounds=2, repeats=3) < 0.1 * gpu.profiled_event_s


def check_nothing_is_left_in_the_queue_of_the_first_use(
    gpu: VirtualGpu, device: VirtualCudaDevice
) -> None:
    bound_by(gpu, "device")
    use_once(device)
    assert gpu.host_s >= max(gpu.free_s.values())


def check_warm_up_lasts_until_the_clocks_have_risen(
    gpu: VirtualGpu, device: VirtualCudaDevice
) -> None:
    bound_by(gpu, "device")
    step = TrainStep(workload(), device, dtype="float32", compile=False)
    truth_s = free_run_s(gpu, step, steps=4)
    risen_s = gpu.host_s + 0.7
    gpu.slowdown = lambda at_s: 1.0 if at_s > risen_s else 2.0
    warm = warmup.warm_until_steady(step, budget_s=3.0, least_s=warmup.WARM_S)
    assert warm.steady
    assert close(warm.steady_s, truth_s)


CHECKS: dict[str, Check] = {
    name.removeprefix("check_"): check
    for name, check in list(globals().items())
    if name.startswith("check_")
}
