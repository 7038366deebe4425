"""Everything that measures, on a GPU that runs behind our back and whose times are known.

Each check measures with the product's own code and compares with the truth, within 2 %. A wait that
is left out makes the host's clock run ahead of the device: for every call of the product that
waits, one check at least fails without it.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mfubench_model.corpus import open_corpus
from torch import nn

from mfubench.analysis import components
from mfubench.analysis.intervals import total, union
from mfubench.hardware import ceilings
from mfubench.measure import ablation, configured_loop, gpt_workload, warmup
from mfubench.measure.bandwidth import SIZES_BYTES, measure_curve
from mfubench.measure.bare import bare_step
from mfubench.measure.configured_loop import ConfiguredLoop
from mfubench.measure.gemms import Gemm, time_alone
from mfubench.measure.gpt_workload import GPTWorkload
from mfubench.measure.kernel_time import kernel_times_s
from mfubench.measure.loop_config import LoopConfig
from mfubench.measure.profile_rows import operators
from mfubench.measure.profiler_events import ProfileError, event_cost
from mfubench.measure.profiling import profile_step
from mfubench.measure.train_loop import TrainLoop
from mfubench.measure.train_step import TrainStep, use_once
from mfubench.measure.windows import Window, steps_per_window
from mfubench.pairs.pairing import there_and_back
from mfubench.pairs.timed_loop import TimedLoop
from mfubench.suite.timer import PlainTimer
from mfubench.timing import time_s
from tests.conftest import TINY
from tests.virtual_gpu import PRODUCT, Site, VirtualCudaDevice, VirtualGpu, behind_our_back

CLOSE = 0.02

Check = Callable[[VirtualGpu, VirtualCudaDevice], None]


def close(found: float, truth: float) -> bool:
    return abs(found / truth - 1) <= CLOSE


# --------------------------------------------------------------------------- what is trained


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


# --------------------------------------------------------------------------- the checks


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
        truth_s = [free_run_s(gpu, lambda s=side: s.loop.iterate(_unmarked), 12) for side in sides]  # type: ignore[misc]
        times_s: dict[TimedLoop, list[float]] = {side: [] for side in sides}
        for order in there_and_back(list(sides), 2):
            for side in order:
                times_s[side].append(side.turn(sides[side])["step_s"])
    found = statistics.median(times_s[changed]) / statistics.median(times_s[base])
    assert truth_s[1] > 1.5 * truth_s[0]
    assert close(found, truth_s[1] / truth_s[0])


def _unmarked(phase: str) -> contextlib.AbstractContextManager[Any]:
    return contextlib.nullcontext()


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


# --------------------------------------------------------------------------- accounts and memory

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
        step.iterate(_unmarked)
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
            step_s = free_run_s(gpu, lambda: loop.iterate(_unmarked))
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


CHECKS: dict[str, Check] = {
    name.removeprefix("check_"): check
    for name, check in list(globals().items())
    if name.startswith("check_")
}


def ran(check: Check, *, ignored: frozenset[Site] = frozenset()) -> VirtualGpu:
    """The device after a check."""
    gpu = VirtualGpu()
    gpu.ignored = ignored
    with behind_our_back(gpu) as device:
        check(gpu, device)
    return gpu


@functools.cache
def waits_of(name: str) -> set[Site]:
    """What a check waits in, where everything is as it is."""
    return ran(CHECKS[name]).waits


@pytest.mark.parametrize("name", CHECKS)
def test_within_two_per_cent_of_the_truth(name: str) -> None:
    waits_of(name)


# --------------------------------------------------------------------------- what waits, left out

WAITING = ("synchronise", "synchronize", "item")


def waiting_calls() -> list[Site]:
    """Every call that waits for a device, in everything that measures."""
    found = []
    for room in ("hardware", "measure", "pairs", "suite", "knobs"):
        for path in sorted((Path(PRODUCT) / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in WAITING
                ):
                    found.append((str(path.relative_to(PRODUCT)), node.lineno))
    return found


OTHER_DEVICES = ("hardware/device_mps.py",)
"""Behind a module that the virtual GPU does not stand in for."""


@pytest.mark.parametrize(
    "site",
    [s for s in waiting_calls() if s[0] not in OTHER_DEVICES],
    ids=lambda s: f"{s[0]}:{s[1]}",
)
def test_a_wait_that_is_left_out_is_found(site: Site) -> None:
    """The call is there and does nothing, as if it had been removed."""
    concerned = [name for name in CHECKS if site in waits_of(name)]
    assert concerned, "no check gets here"
    for name in concerned:
        try:
            ran(CHECKS[name], ignored=frozenset({site}))
        except (AssertionError, RuntimeError):
            return
    pytest.fail(f"every one of these passes without it: {', '.join(concerned)}")
