"""A step without a component has its shapes and its losses, and does not run the component."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mfubench.hardware.devices import CpuDevice
from mfubench.measure import ablation
from mfubench.measure.ablation import (
    ABLATED,
    LOOP_ABLATIONS,
    STEP_ABLATIONS,
    WithoutActivation,
    WithoutAttention,
    WithoutData,
    WithoutOptimizer,
    saving_s,
)
from mfubench.measure.gpt_workload import GPTWorkload
from mfubench.measure.train_loop import TrainLoop
from mfubench.measure.train_step import TrainStep
from mfubench.measure.workload import Batch

pytestmark = pytest.mark.usefixtures("one_thread")


class Dispatched(TorchDispatchMode):
    """How often each operator ran."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.names[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True, slots=True)
class CountingWorkload(GPTWorkload):
    """The workload, which counts its batches."""

    batches: list[str] = field(default_factory=list)

    def sample_batch(self, split: str, device: torch.device) -> Batch:
        self.batches.append(split)
        return GPTWorkload.sample_batch(self, split, device)


@pytest.fixture
def workload(tiny_workload: GPTWorkload) -> CountingWorkload:
    w = tiny_workload
    return CountingWorkload(w.preset, w.batch_size, w.corpus)


def made(kind: type[TrainStep], workload: GPTWorkload) -> TrainStep:
    return kind(workload, CpuDevice(), dtype="float32", compile=False)


def dispatched(step: TrainStep) -> Counter[str]:
    with Dispatched() as counter:
        step()
    return counter.names


def like(names: Counter[str], part: str) -> int:
    return sum(count for name, count in names.items() if part in name)


@pytest.mark.parametrize("name", ABLATED)
def test_an_ablated_step_keeps_every_shape_and_a_finite_loss(
    workload: CountingWorkload, name: str
) -> None:
    plain = made(TrainStep, workload)
    ablated = made(ABLATED[name], workload)
    for _ in range(3):
        ablated()
    assert math.isfinite(ablated.last_loss.item())
    assert ablated.last_loss.shape == ()
    shapes = {key: p.shape for key, p in plain.model.named_parameters()}
    assert {key: p.shape for key, p in ablated.model.named_parameters()} == shapes
    ablated.backward(ablated.forward(ablated.next_batch()))
    for key, parameter in ablated.model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.shape == shapes[key]
        assert torch.isfinite(parameter.grad).all()
    if isinstance(ablated, TrainLoop):
        ablated.close()


def test_without_attention_no_attention_is_dispatched(workload: CountingWorkload) -> None:
    usual = dispatched(made(TrainStep, workload))
    without = dispatched(made(WithoutAttention, workload))
    assert like(usual, "scaled_dot_product") == 2
    assert like(without, "scaled_dot_product") == 0
    assert like(without, "softmax") == like(usual, "softmax")  # the loss's
    assert without["mm"] == usual["mm"]
    assert without["gelu"] == usual["gelu"]


def test_attention_is_restored(workload: CountingWorkload, monkeypatch: pytest.MonkeyPatch) -> None:
    before = nn.functional.scaled_dot_product_attention
    step = made(WithoutAttention, workload)
    step()
    assert nn.functional.scaled_dot_product_attention is before

    monkeypatch.setattr(step, "workload", None)  # so that its forward pass fails
    with pytest.raises(AttributeError):
        step.forward(step.next_batch())
    assert nn.functional.scaled_dot_product_attention is before


def test_without_activation_no_gelu_is_dispatched(workload: CountingWorkload) -> None:
    usual = dispatched(made(TrainStep, workload))
    without = dispatched(made(WithoutActivation, workload))
    assert like(usual, "gelu") == 2
    assert like(without, "gelu") == 0
    assert without["mm"] == usual["mm"]
    assert like(without, "scaled_dot_product") == like(usual, "scaled_dot_product")


def test_without_optimizer_nothing_is_applied_and_gradients_still_go(
    workload: CountingWorkload, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = made(WithoutOptimizer, workload)
    before = [parameter.detach().clone() for parameter in step.model.parameters()]
    calls: list[int] = []
    monkeypatch.setattr(step.optimizer, "step", lambda *_: calls.append(1))
    step()
    assert calls == []
    assert not step.optimizer.state
    for old, parameter in zip(before, step.model.parameters(), strict=True):
        assert torch.equal(old, parameter)
        assert parameter.grad is None


def test_without_data_no_batch_is_loaded_again(workload: CountingWorkload) -> None:
    step = made(WithoutData, workload)
    assert isinstance(step, TrainLoop)
    loaded = len(workload.batches)
    first = step.next_batch()
    for _ in range(3):
        step()
    assert len(workload.batches) == loaded
    assert step.next_batch() is first
    step.close()

    usual = made(TrainLoop, workload)
    assert isinstance(usual, TrainLoop)
    loaded = len(workload.batches)
    for _ in range(3):
        usual()
    assert len(workload.batches) == loaded + 3
    usual.close()


def test_a_saving_is_the_median_difference_and_order_plays_no_part(
    workload: CountingWorkload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of each pair is one unit slower, whichever it is."""
    turn = [0]

    def timed(run: TrainStep) -> float:
        turn[0] += 1
        first = turn[0] % 2 == 1
        return (7.0 if isinstance(run, WithoutOptimizer) else 10.0) + (1.0 if first else 0.0)

    monkeypatch.setattr(ablation, "time_s", timed)
    base = made(TrainStep, workload)
    saved = saving_s(base, "optimizer", dtype="float32", pairs=10)
    assert saved == pytest.approx(3.0)


def test_every_ablation_is_of_a_step_or_of_a_loop() -> None:
    assert set(STEP_ABLATIONS) | set(LOOP_ABLATIONS) == set(ABLATED)
    assert all(issubclass(ABLATED[name], TrainLoop) for name in LOOP_ABLATIONS)


def test_a_saving_is_measured_beside_the_step_and_neither_is_broken(
    workload: CountingWorkload,
) -> None:
    base = made(TrainLoop, workload)
    assert isinstance(base, TrainLoop)
    saved = saving_s(base, "data", dtype="float32", pairs=4)
    assert math.isfinite(saved)
    base()
    assert math.isfinite(base.last_loss.item())
    base.close()
