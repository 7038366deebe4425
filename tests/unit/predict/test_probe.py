"""The probe itself: what it runs is what the model asks for, and a busy machine is noticed."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import get_args

import pytest

from mfubench.hardware.devices import parse_device
from mfubench.predict import measure, turns
from mfubench.predict.document import OperatorName
from mfubench.predict.operators import operators
from mfubench.predict.rates import Rates
from mfubench.predict.steps import measure_step
from mfubench.results.outcomes import Dtype
from tests.unit.predict.made_up_machine import setting


def test_every_operator_of_the_model_is_probed() -> None:
    names = {o.name for p in (0.0, 0.2) for o in operators(setting(dropout=p))}
    assert names == set(get_args(OperatorName))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_operators_run_and_give_a_time(dtype: Dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {
        "linear": [(4, 16, 16)],
        "attention": [(4, 8, 16)],
        "attention_dropout": [(4, 8, 16)],
        "loss": [(4, 16)],
    }
    monkeypatch.setattr(turns, "shapes", lambda name: small.get(name, [(256,)]))
    monkeypatch.setattr(turns, "ROUND_S", 1e-9)
    items = list(turns.operators_in_turns(parse_device("cpu"), dtype, with_optimizer=True))
    for one in items:
        one.round()
    times = [one.time for one in items]
    assert {time.operator for time in times} == set(get_args(OperatorName))
    assert dtype in Rates(times).dtypes


def test_large_operands_are_made_anew_for_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, ...]] = []

    def copies_of(name: str, shape: tuple[int, ...], *_: object) -> Callable[[], None]:
        made.append(shape)
        return lambda: None

    monkeypatch.setattr(turns, "copies_of", copies_of)
    small, large = (64,), (2**24,)
    for shape in (small, large):
        clock = itertools.count()
        now = partial(next, clock)
        one = turns.OperatorTurns("add", shape, parse_device("cpu"), "float32", now)
        one.round()
        one.round()
    assert made.count(large) == made.count(small) + 2


class Turned:
    """An operator or a step on a machine that is slower in some of its sweeps."""

    every = 1

    def __init__(self, slower: Sequence[float]) -> None:
        self.slower = iter([slow for slow in slower for _ in range(measure.SWEEPS // 2)])
        self.rounds_s: list[float] = []

    def round(self) -> None:
        self.rounds_s.append(next(self.slower))

    @property
    def time(self) -> float:
        return statistics.median(self.rounds_s)

    step = time


Probe = Callable[..., tuple[list[float], list[float], float, int, list[str]]]


@pytest.fixture
def probed_by_halves(monkeypatch: pytest.MonkeyPatch) -> Probe:
    """A probe of one operator and one step on a machine that is slower in some halves of tries."""

    def probe(*slower: float) -> tuple[list[float], list[float], float, int, list[str]]:
        said: list[str] = []
        monkeypatch.setattr(measure, "operators_in_turns", lambda *_, **__: [Turned(slower)])
        monkeypatch.setattr(measure, "StepTurns", lambda *_: Turned(slower))
        found = measure._in_turns(parse_device("cpu"), "float32", [setting()], said.append)
        return (*found, said)  # type: ignore[return-value]

    return probe


def test_a_busy_machine_is_said_and_probed_again(probed_by_halves: Probe) -> None:
    operators, steps, apart, tries, said = probed_by_halves(2.0, 1.0, 1.25, 1.25)
    assert tries == 2
    assert apart == 0.0
    assert any("the machine was busy: sweeps lie 100 % apart" in text for text in said)
    assert operators == steps == [1.25]


def test_a_machine_that_stays_busy_is_said_to(probed_by_halves: Probe) -> None:
    _, _, apart, tries, said = probed_by_halves(*(1.0, 2.0) * 3)
    assert tries == measure.MOST_TRIES
    assert apart == 1.0
    assert said[-1] == "the machine stayed busy: sweeps lie 100 % apart"


def test_a_quiet_machine_is_probed_once(probed_by_halves: Probe) -> None:
    *_, tries, said = probed_by_halves(1.0, 1.05)
    assert tries == 1
    assert said == ["operators in float32 and anchor steps"]


@pytest.mark.parametrize("parts", [1, 2])
def test_a_step_of_any_sizes_can_be_run(parts: int) -> None:
    one = setting(
        n_layer=1, n_head=1, n_embd=16, block_size=8, batch_size=2,
        gradient_accumulation_steps=parts,
    )  # fmt: skip
    found = measure_step(one, parse_device("cpu"), budget_s=0.0)
    assert found.setting == one
    assert found.step_s > 0
