"""The account of a script's step, on a clock that the test turns: no time is waited for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mfubench.script import pauses, phases, recorder, run, signals, stretches
from mfubench.script.found import Found
from mfubench.script.phases import PhaseClock
from mfubench.script.run import TrainingRun


class Clock:
    """Stands still unless a part of the loop takes time."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (pauses, phases, recorder, signals, stretches):
        monkeypatch.setattr(module, "clock_s", clock)
    return clock


class Slow(nn.Module):
    """A linear layer whose forward and backward take 3 and 5 seconds."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 1)
        self.clock = clock

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.clock.sleep(3)
        out: torch.Tensor = self.inner(x)
        out.register_hook(lambda grad: self.clock.sleep(5))
        return out


def train(clock: Clock, *, steps: int, body: Callable[[nn.Module, int], torch.Tensor]) -> run.Found:
    model = Slow(clock)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    optimizer.register_step_pre_hook(lambda *_: clock.sleep(0.5))
    watched = TrainingRun(breakdown=True)
    watched.start()
    try:
        for i in range(steps):
            body(model, i).backward()
            clock.sleep(0.25)  # clipping
            optimizer.step()
            optimizer.zero_grad()
            read(clock, model)
    finally:
        found = watched.stop()
    return found


def read(clock: Clock, model: nn.Module) -> None:
    """What a loop does to log its loss."""
    next(model.parameters()).detach().sum().item()
    clock.sleep(0.7)


def clock_of(found: Found) -> PhaseClock:
    assert isinstance(found.clock, PhaseClock)
    return found.clock


def test_each_part_of_a_step_is_found_in_its_bar(clock: Clock) -> None:
    def body(model: nn.Module, i: int) -> torch.Tensor:
        clock.sleep(2)  # a loader that is a function of the script's own
        x = torch.randn(2, 4)
        y: torch.Tensor = model(x)
        return y.square().mean()

    found = train(clock, steps=40, body=body)
    parts = clock_of(found).typical_s()
    assert parts["forward"] == pytest.approx(3)
    assert parts["backward"] == pytest.approx(5)
    assert parts["clip"] == pytest.approx(0.25)
    assert parts["optimizer"] == pytest.approx(0.5)
    assert parts["logging"] == pytest.approx(0.7)
    assert parts["data"] == pytest.approx(2)
    assert sum(parts.values()) == pytest.approx(3 + 5 + 0.25 + 0.5 + 2.7)
    assert found.rounds_s == pytest.approx([11.45] * len(found.rounds_s))


def test_a_batch_that_is_made_between_forward_and_backward_is_data(clock: Clock) -> None:
    def body(model: nn.Module, i: int) -> torch.Tensor:
        y: torch.Tensor = model(body.x).square().mean()  # type: ignore[attr-defined]
        clock.sleep(1.5)
        body.x = torch.randn(2, 4)  # type: ignore[attr-defined]
        return y

    body.x = torch.randn(2, 4)  # type: ignore[attr-defined]
    found = train(clock, steps=40, body=body)
    parts = clock_of(found).typical_s()
    assert parts["data"] == pytest.approx(1.5)
    assert parts["logging"] == pytest.approx(0.7)


def test_evaluation_is_a_pause_outside_the_step(clock: Clock) -> None:
    def body(model: nn.Module, i: int) -> torch.Tensor:
        if i % 3 == 2:
            model.eval()
            clock.sleep(100)
            model.train()
        y: torch.Tensor = model(torch.randn(2, 4)).square().mean()
        return y

    found = train(clock, steps=40, body=body)
    assert sum(clock_of(found).typical_s().values()) == pytest.approx(9.45)
    assert found.rounds_s == pytest.approx([9.45] * len(found.rounds_s))
    assert {round(s.evaluation_s) for s in found.steps.steps} == {0, 100}


def test_without_enough_steps_there_is_no_account(clock: Clock) -> None:
    found = train(clock, steps=5, body=lambda model, i: model(torch.randn(2, 4)).mean())
    assert found.wants_breakdown
    assert found.clock is None or len(clock_of(found).steps_s) < 2
