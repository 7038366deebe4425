"""The probe itself: what it runs is what the model asks for, and a busy machine is noticed."""

from __future__ import annotations

from typing import get_args

import pytest

from mfubench.hardware.devices import parse_device
from mfubench.predict import measure, probe
from mfubench.predict.document import OperatorName, OperatorTime
from mfubench.predict.operators import operators
from mfubench.predict.rates import Rates
from mfubench.predict.steps import measure_step
from tests.unit.predict.made_up_machine import MadeUp, setting


def test_every_operator_of_the_model_is_probed() -> None:
    names = {o.name for p in (0.0, 0.2) for o in operators(setting(dropout=p))}
    assert names == set(get_args(OperatorName))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_operators_run_and_give_a_time(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {
        "linear": [(4, 16, 16)],
        "attention": [(4, 8, 16)],
        "attention_dropout": [(4, 8, 16)],
        "loss": [(4, 16)],
    }
    monkeypatch.setattr(probe, "shapes", lambda name: small.get(name, [(256,)]))
    monkeypatch.setattr(probe, "ROUND_S", 1e-9)
    times = probe.probe_operators(parse_device("cpu"), dtype, with_optimizer=True)  # type: ignore[arg-type]
    assert [time.operator for time in times] == list(dict.fromkeys(t.operator for t in times))
    assert {time.operator for time in times} == set(get_args(OperatorName))
    assert dtype in Rates(times).dtypes


class Busy:
    """Passes over the operators on a machine that is slower in some of them."""

    def __init__(self, *slower: float) -> None:
        self.slower = iter(slower)

    def __call__(self, *_: object, **__: object) -> list[OperatorTime]:
        factor = next(self.slower)
        return MadeUp(launch_s=20e-6 * factor, speed=1 / factor).times()


def test_a_busy_machine_is_said_and_probed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(measure, "probe_operators", Busy(2.0, 1.3, 1.3))
    found, apart, tries = measure._operators(parse_device("cpu"), "float32", said.append)
    assert tries == 2
    assert apart == pytest.approx(0.0, abs=1e-9)
    assert any("the machine was busy: two passes lie 54 % apart" in text for text in said)
    assert found[0].seconds == pytest.approx(
        MadeUp(launch_s=26e-6, speed=1 / 1.3).times()[0].seconds
    )


def test_a_machine_that_stays_busy_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(measure, "probe_operators", Busy(1.0, 2.0, 4.0, 8.0))
    _, apart, tries = measure._operators(parse_device("cpu"), "float32", said.append)
    assert tries == measure.MOST_TRIES
    assert apart == pytest.approx(1.0)
    assert said[-1] == "the machine stayed busy: passes lie 100 % apart"


def test_a_quiet_machine_is_probed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(measure, "probe_operators", Busy(1.0, 1.05))
    assert measure._operators(parse_device("cpu"), "float32", said.append)[2] == 1
    assert said == ["operators in float32"]


@pytest.mark.parametrize("parts", [1, 2])
def test_a_step_of_any_sizes_can_be_run(parts: int) -> None:
    one = setting(
        n_layer=1, n_head=1, n_embd=16, block_size=8, batch_size=2,
        gradient_accumulation_steps=parts,
    )  # fmt: skip
    found = measure_step(one, parse_device("cpu"), budget_s=0.0)
    assert found.setting == one
    assert found.step_s > 0
