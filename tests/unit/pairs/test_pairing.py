"""Who takes a turn when, what is built anew, and what the interval is over; on made-up sides."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfubench.analysis.effect import HELPS, UNCLEAR
from mfubench.measure.loop_config import LoopConfig
from mfubench.pairs import pairing
from mfubench.pairs.loop_side import LoopSide, profiled_changes
from mfubench.pairs.pairing import (
    Pairing,
    TurnPlan,
    TurnTaker,
    error_of_median,
    is_told,
    rounds_until,
)
from mfubench.pairs.side import SideError
from mfubench.results.outcomes import Outcome


class MadeUp(LoopSide):
    """A side without a process that says when it is asked, with a speed of its own."""

    def __init__(
        self, name: str, said: list[str], *, step_s: float = 0.04, compile: str = "no"
    ) -> None:
        self.config = LoopConfig(compile=compile)
        self.tokens_per_step = 768
        self.step_s = step_s
        self.name, self._said_all = name, said
        self.ran: list[int] = []

    def turn(self, steps: int, **wanted: Any) -> dict[str, float]:
        self._said_all.append(self.name)
        return {"s_per_token": self.step_s / self.tokens_per_step}

    def restart(self, seed: int) -> None:
        self._said_all.append(f"{self.name} anew")

    def run(self, steps: int) -> list[float]:
        self.ran.append(steps)
        return [self.step_s] * steps

    def evaluation_s(self, batches: int = 1) -> float:
        return 0.01

    def save_s(self) -> float:
        return 0.02

    def bars(self) -> dict[str, float]:
        self._said_all.append(f"{self.name} profiled")
        if self.config.compile != "no":
            raise SideError(Outcome.ERROR, "compiled code has no bars")
        return {"gemm": 0.03, "optimizer": self.step_s - 0.03}


def pairs_of(*pairs: tuple[MadeUp, MadeUp]) -> Pairing:
    bases, candidates = (
        [TurnTaker[LoopSide](one, 1) for one in side] for side in zip(*pairs, strict=True)
    )
    step_s = max(candidate.step_s for _, candidate in pairs)
    return Pairing(bases=bases, candidates=candidates, start_up_s=0.0, step_s=step_s)


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "SETTLE_S", 0.0)


def test_pairs_of_processes_take_turns_pair_by_pair() -> None:
    said: list[str] = []
    pairs = pairs_of(*((MadeUp(f"b{i}", said), MadeUp(f"c{i}", said)) for i in range(2)))
    pairs.take(2)
    assert said == ["b0", "c0", "b1", "c1"] * 2
    assert len(pairs.s_per_token) == 4


def test_several_baselines_have_a_turn_each_before_one_candidate() -> None:
    said: list[str] = []
    bases = [TurnTaker[LoopSide](MadeUp(f"b{i}", said), 1) for i in range(2)]
    one = Pairing(
        bases=bases, candidates=[TurnTaker(MadeUp("c", said, step_s=0.02), 1)], start_up_s=0.0
    )
    one.take(3)
    assert said == ["b0", "b1", "c"] * 3
    assert one.effect().ratio == pytest.approx(2.0)
    assert one.effect().processes == 2
    assert "start_up_s" not in one.as_data()


@pytest.mark.parametrize(("step_s", "turns_each"), [(0.04, 8), (0.4, 4)])
def test_slow_steps_take_fewer_turns(step_s: float, turns_each: int) -> None:
    quick = (MadeUp("b", []), MadeUp("c", []))
    pairs = pairs_of(quick, (MadeUp("b", []), MadeUp("c", [], step_s=step_s)))
    assert pairs.turns == 2 * turns_each


@pytest.mark.parametrize(
    ("first_s", "compile", "steps"),
    [(0.1, "no", 5), (0.4, "no", 2), (3.0, "no", 2), (25.0, "default", 5), (90.0, "default", 3)],
)
def test_slow_steps_are_warm_after_few_and_compiled_ones_are_not(
    first_s: float, compile: str, steps: int
) -> None:
    side = MadeUp("c", [], step_s=first_s, compile=compile)
    side.warm(5)
    assert side.ran == [1, steps]
    assert side.checkpoint_s == 0.02


def test_the_luck_of_processes_is_in_the_interval() -> None:
    # No change in truth; processes differ by 3 %, their turns by nothing.
    luck = random.Random(5)
    verdicts = []
    for _ in range(200):
        speeds = [[0.04 * luck.lognormvariate(0, 0.03) for _ in "bc"] for _ in range(4)]
        pairs = pairs_of(
            *((MadeUp("b", [], step_s=b), MadeUp("c", [], step_s=c)) for b, c in speeds)
        )
        pairs.take(3)
        verdicts.append(pairs.effect().verdict)
    wrong = sum(verdict not in (UNCLEAR, "no difference") for verdict in verdicts)
    assert wrong <= 0.08 * len(verdicts)


def test_both_loops_are_built_anew_between_builds_and_a_compiled_one_stays() -> None:
    said: list[str] = []
    one = pairs_of((MadeUp("b", said), MadeUp("c", said, compile="default")))
    one.turns_per_build = 2
    one.take(4)
    # Built anew before the third turn of the candidate; a turn after it is its warming.
    assert said == ["b", "c", "b", "c", "b anew", "b", "b", "c", "b", "c"]
    assert one.effect().pairs == 2


def test_bars_add_up_to_what_the_turns_saved() -> None:
    said: list[str] = []
    one = pairs_of((MadeUp("b", said), MadeUp("c", said, step_s=0.036)))
    one.take(6)
    assert one.effect().verdict == HELPS
    one.profile()
    assert one.bars is not None
    assert [bar.name for bar in one.bars][:1] == ["optimizer"]
    assert sum(bar.saved_s for bar in one.bars) == pytest.approx(0.004)
    assert said[-6:] == ["c profiled", "b profiled"] * 3


@pytest.mark.parametrize("before_s", [0.04, 5.0])
def test_what_cannot_be_profiled_costs_no_profile_of_the_other(before_s: float) -> None:
    said: list[str] = []
    base, candidate = MadeUp("b", said), MadeUp("c", said, compile="default")
    assert profiled_changes(base, candidate, before_s=before_s, ratio=1.1) is None
    assert "b profiled" not in said


def test_the_first_evaluation_is_charged_as_the_first_steps_are() -> None:
    class Compiling(MadeUp):
        asked = 0

        def run(self, steps: int) -> list[float]:
            self.asked += 1
            return [20.0] if self.asked == 1 else [0.04] * steps

        def evaluation_s(self, batches: int = 1) -> float:
            self.asked += 1
            return 5.0 if self.asked == 3 else 0.01

    start_up_s, step_s = Compiling("c", []).warm()
    assert start_up_s == pytest.approx(20.0 - 0.04 + 5.0 - 0.01)
    assert step_s == pytest.approx(0.04)


def test_turns_that_agree_are_few_and_the_others_many() -> None:
    plan = TurnPlan(least=6, most=20, steps=1)
    assert "".join("".join(names) for names in rounds_until("AB", plan, lambda: True)) == "ABBA" * 3
    assert len(list(rounds_until("AB", plan, lambda: False))) == 20
    told = iter([False, False, True])
    assert len(list(rounds_until("AB", plan, lambda: next(told)))) == 10


@given(st.integers(2, 200), st.integers(0, 2**32 - 1))
def test_the_error_of_a_median_is_about_the_true_one(count: int, seed: int) -> None:
    draws = np.random.default_rng(seed).normal(size=(400, count))
    found = np.mean([error_of_median(list(row)) for row in draws])
    true = np.median(draws, axis=1).std()
    assert 0.7 < found / true < 1.4


def test_quiet_turns_tell_and_those_of_a_busy_machine_do_not() -> None:
    quiet, busy = [0.040, 0.0402] * 10, [0.040, 0.048] * 10
    assert is_told(quiet, [0.040] * 20)
    assert not is_told(busy, [0.040] * 20)
