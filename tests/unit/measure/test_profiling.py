"""A real step's profile puts every operator where it belongs, and leaves the step as it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from mfubench.analysis import components
from mfubench.hardware.devices import CpuDevice
from mfubench.measure import profiler_events, profiling
from mfubench.measure.events import StepTree
from mfubench.measure.gemms import capture_gemms
from mfubench.measure.gpt_workload import GPTWorkload
from mfubench.measure.profile_rows import operators
from mfubench.measure.profiler_events import ProfileError, event_cost
from mfubench.measure.profiling import Profile, profile_step, typical
from mfubench.measure.train_loop import TrainLoop
from mfubench.measure.train_step import TrainStep

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def short_profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a profile is what takes time; one block says where things are."""
    monkeypatch.setattr(profiling, "BLOCKS", 1)
    monkeypatch.setattr(profiling, "PLAIN_STEPS", 2)


@pytest.fixture
def step(tiny_workload: GPTWorkload) -> TrainStep:
    return TrainStep(tiny_workload, CpuDevice(), dtype="float32", compile=False)


@pytest.fixture
def loop(tiny_workload: GPTWorkload) -> Iterator[TrainLoop]:
    made = TrainLoop(
        replace(tiny_workload, preset=replace(tiny_workload.preset, log_interval=1)),
        CpuDevice(),
        dtype="float32",
        compile=False,
    )
    yield made
    made.close()


def components_of(profile: Profile, name: str) -> set[str]:
    return {op.component for op in profile.op_times if op.name == name}


def phases_of(profile: Profile, component: str) -> set[str]:
    return {op.phase for op in profile.op_times if op.component == component}


def test_every_operator_of_a_gpt_is_in_the_bar_of_what_it_is(step: TrainStep) -> None:
    profile = profile_step(step, event_cost_s=0.0)
    assert profile.by_module
    products = {
        key: count for key, count in profile.counts.items() if key[0] in ("aten::mm", "aten::addmm")
    }
    assert {component for _, component, _ in products} == {"gemm"}
    assert sum(products.values()) == capture_gemms(step).total()
    assert components_of(profile, "aten::gelu") == {"activation"}
    assert components_of(profile, "aten::gelu_backward") == {"activation"}
    assert components_of(profile, "aten::native_layer_norm") == {"normalisation"}
    assert components_of(profile, "aten::native_layer_norm_backward") == {"normalisation"}
    attention = "aten::_scaled_dot_product_flash_attention_for_cpu"
    assert components_of(profile, attention) == {"attention"}
    assert components_of(profile, attention + "_backward") == {"attention"}
    assert components_of(profile, "aten::embedding_dense_backward") == {"embedding"}
    assert components_of(profile, "aten::nll_loss_forward") == {"loss"}
    assert components_of(profile, "aten::_log_softmax_backward_data") == {"loss"}
    assert components_of(profile, "Optimizer.step#AdamW.step") == {"optimizer"}
    assert components_of(profile, "aten::addcdiv_") == {"optimizer"}
    assert components_of(profile, "aten::linalg_vector_norm") == {"clip"}
    assert components_of(profile, "aten::view") <= {
        "dispatch",
        "attention",
        "normalisation",
        "embedding",
        "optimizer",
        "clip",
        "loss",
    }
    for bar in ("gemm", "attention", "activation", "normalisation", "embedding", "loss"):
        assert phases_of(profile, bar) == {"forward", "backward"}
    for bar in ("clip", "optimizer"):
        assert phases_of(profile, bar) == {bar}
    assert "unknown" not in {op.component for op in profile.op_times}


def test_the_parts_are_the_profiled_step_where_nothing_is_taken_out(
    step: TrainStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "PROFILED_STEPS", 1)
    profile = profile_step(step, event_cost_s=0.0)
    total_s = sum(row.seconds for row in operators(profile, on_host=True))
    assert total_s == pytest.approx(profile.profiled_s, rel=1e-3)
    assert profile.event_cost_s == 0.0
    assert profile.events_per_step > 100


def test_taking_the_profilers_cost_out_makes_parts_smaller_and_never_negative(
    step: TrainStep,
) -> None:
    profile = profile_step(step, event_cost_s=1.0)
    assert all(op.self_s >= 0 for op in profile.op_times)
    assert all(seconds == 0 for seconds in profile.python_s.values())


def test_a_loop_has_data_and_logging_too(loop: TrainLoop) -> None:
    profile = profile_step(loop, event_cost_s=0.0)
    assert profile.by_module
    rows = operators(profile, on_host=True)
    seconds: Counter[str] = Counter()
    for row in rows:
        seconds[row.component] += row.seconds  # type: ignore[assignment]
    assert seconds["data"] > 0
    assert seconds["logging"] > 0
    assert components_of(profile, "aten::randint") == {"data"}
    assert components_of(profile, "aten::stack") >= {"data"}
    assert ("aten::item", "logging", "logging") in profile.counts
    python = {row.phase: row.component for row in rows if row.name == "Python, in no operator"}
    assert python["data"] == "data"
    assert python["logging"] == "logging"
    assert python["forward"] == python["backward"] == python[""] == "dispatch"


def test_the_model_trains_on_as_if_nothing_had_happened(
    tiny_workload: GPTWorkload, step: TrainStep
) -> None:
    profile_step(step, event_cost_s=0.0)
    for module in step.model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
    assert step.model.training
    assert all(parameter.grad is None for parameter in step.model.parameters())
    first = step.last_loss.item()
    for _ in range(60):
        step()
    assert step.last_loss.item() < first


def test_profiled_steps_are_the_same_steps(tiny_workload: GPTWorkload) -> None:
    made = [TrainStep(tiny_workload, CpuDevice(), dtype="float32", compile=False) for _ in range(2)]
    plain, profiled = made
    for _ in range(3):
        plain()
    phased = profiling.phased(profiled)
    with profiler_events.module_ranges(profiled.model):
        phased()
    phased()
    phased()
    assert profiled.last_loss.item() == plain.last_loss.item()


def test_a_long_step_is_profiled_once(step: TrainStep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "LONG_STEP_S", 0.0)
    monkeypatch.setattr(profiling, "BLOCKS", 50)
    monkeypatch.setattr(profiling, "PLAIN_STEPS", 50)
    calls = [0]
    run = TrainStep.next_batch

    def counted(self: TrainStep) -> Any:
        calls[0] += 1
        return run(self)

    monkeypatch.setattr(TrainStep, "next_batch", counted)
    profile = profile_step(step, event_cost_s=0.0)
    assert profile.step_s > 0
    assert calls[0] < 12


def test_a_call_inside_another_call_of_its_bar_is_not_counted(step: TrainStep) -> None:
    profile = profile_step(step, event_cost_s=0.0)
    # Three norms are called; its allocations and views are part of them.
    norms = {key[0]: n for key, n in profile.counts.items() if key[1] == "normalisation"}
    assert norms["aten::native_layer_norm"] == 3
    assert norms["aten::empty"] == 0


def test_an_accelerator_without_kernel_times_is_refused(
    step: TrainStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CpuDevice, "kind", "mps")
    with pytest.raises(ProfileError, match="gives no kernel times on mps"):
        profile_step(step, event_cost_s=0.0)


def test_hooks_go_when_a_step_fails(step: TrainStep, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(run: Callable[[], object], device: object) -> list[Any]:
        raise ProfileError("no profiler")

    monkeypatch.setattr(profiler_events, "events_of", fail)
    with pytest.raises(ProfileError):
        profile_step(step, event_cost_s=0.0)
    assert not any(module._forward_pre_hooks for module in step.model.modules())


def test_a_profile_without_events_is_refused_in_a_sentence(
    step: TrainStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (profiling, profiler_events):
        monkeypatch.setattr(module, "events_of", lambda run, device: [])
    with pytest.raises(ProfileError, match="the profiler recorded no step"):
        profile_step(step, event_cost_s=0.0)
    with pytest.raises(ProfileError, match="recorded no events on this platform"):
        event_cost(CpuDevice(), rounds=1, repeats=2)


def test_a_profiler_that_cannot_run_says_so(
    step: TrainStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("built without Kineto")

    monkeypatch.setattr(profiler_events, "profile", broken)
    with pytest.raises(ProfileError, match="cannot run here: built without Kineto"):
        profile_step(step)


def test_an_event_costs_something_and_less_than_a_step() -> None:
    assert 0 <= event_cost(CpuDevice(), rounds=3) < 1e-2


def on_accelerator(step: TrainStep, linked: float, busy: float, total: float) -> dict[str, float]:
    """Rows of a step whose kernels take these shares of it, by their names."""
    profile = profile_step(step, event_cost_s=0.0)
    on_device = [replace(op, device_s=0.0) for op in profile.op_times]
    on_device[0] = replace(on_device[0], device_s=linked * profile.step_s)
    profile = replace(
        profile,
        op_times=on_device,
        device_busy_s=busy * profile.step_s,
        device_sum_s=total * profile.step_s,
    )
    rows = operators(profile, on_host=False)
    return {row.name: row.seconds / profile.step_s for row in rows if row.seconds}


def test_idle_time_of_an_accelerator_is_what_its_kernels_leave(step: TrainStep) -> None:
    assert on_accelerator(step, 0.25, 0.25, 0.25)["device idle"] == pytest.approx(0.75)
    assert "device idle" not in on_accelerator(step, 1.0, 1.0, 1.0)


def test_streams_that_overlap_leave_idle_time_as_it_is(step: TrainStep) -> None:
    """Two streams of 60 % each over 80 % of the step: a sum would say that nothing is idle."""
    assert on_accelerator(step, 1.2, 0.8, 1.2)["device idle"] == pytest.approx(0.2)


def test_kernels_that_link_to_no_operator_are_not_idle_time(step: TrainStep) -> None:
    rows = on_accelerator(step, 0.25, 0.75, 0.75)
    assert rows["device idle"] == pytest.approx(0.25)
    assert rows["kernels that link to no operator"] == pytest.approx(0.5)


def test_idle_time_is_the_plain_steps_and_lies_where_the_host_was(step: TrainStep) -> None:
    """A profiled host is slower: only the shares of its idle time are taken from the profile."""
    profile = replace(
        profile_step(step, event_cost_s=0.0),
        device_busy_s=0.006,
        idle_s={"": 0.003, "forward": 0.003, "data": 0.002},
    )
    rows = operators(profile, on_host=False, device_step_s=0.010)
    idle = {row.phase: row for row in rows if row.name == "device idle"}
    assert {phase: row.seconds for phase, row in idle.items()} == pytest.approx(
        {"": 0.0015, "forward": 0.0015, "data": 0.001}
    )
    assert {phase: row.component for phase, row in idle.items()} == {
        "": components.DISPATCH,
        "forward": components.DISPATCH,
        "data": components.DATA,
    }


def test_typical_steps_are_the_middle_half() -> None:
    trees = [StepTree(wall_s=s, roots=[], python_s={}, events=1) for s in (9, 1, 5, 4, 6, 3, 2, 8)]
    assert [tree.wall_s for tree in typical(trees)] == [3, 4, 5, 6]
    assert typical(trees[:1]) == trees[:1]
