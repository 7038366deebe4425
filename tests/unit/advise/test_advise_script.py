"""Advice for a script: the course of a search on pairs that are made up, and what is turned."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mfubench.advise.advice import COMPLETE, INTERRUPTED, OUT_OF_BUDGET, Advice
from mfubench.advise.script_search import ScriptSearch, UnrunnableError
from mfubench.advise.text import advice_text
from mfubench.knobs.bench import machine_of
from mfubench.knobs.knob import Knob
from mfubench.knobs.script import Turned, code_lines, command_line, script_knobs
from mfubench.measure.loop_config import LoopConfig
from mfubench.sides.bench import TooShortError
from mfubench.sides.pair import ScriptPair, SideOfPair, Software
from mfubench.sides.spec import SideSpec
from tests.one_sentence import assert_refused

MACHINE = machine_of(LoopConfig())
KNOBS = {knob.name: knob for knob in script_knobs(MACHINE)}
BASE = SideSpec(label="as it is", words=("train.py", "--x"))
SOFTWARE = Software(python="3", torch="2", threads=2, device="cpu", is_compiled=False)
Speed = Callable[[SideSpec], float]


def anywhere(name: str, **special: Any) -> Knob:
    """A knob of the catalogue that applies on every machine."""
    from dataclasses import replace

    return replace(KNOBS[name], inapplicable=lambda machine: None, **special)


FUSED, MATH = anywhere("adamw fused"), anywhere("attention math")
BOUND, DENORMALS = anywhere("threads bound to cores"), anywhere("flush denormals")


class MadeUp:
    """Pairs and losses without processes; each pair takes ten seconds of a clock that is ours."""

    def __init__(
        self,
        speed: Speed,
        *,
        errors: Callable[[SideSpec], str | None] = lambda side: None,
        loss: Callable[[SideSpec], float] = lambda side: 2.0,
        noise: float = 0.002,
        process_noise: float = 0.002,
    ) -> None:
        self.speed, self.error, self.loss = speed, errors, loss
        self.noise, self.process_noise = noise, process_noise
        self.now_s = 0.0
        self.asked: list[list[str]] = []
        self._random = random.Random(1)

    def pair(self, sides: Sequence[SideSpec], *, steadied: bool, left_s: float) -> ScriptPair:
        if left_s < 10:
            raise TooShortError("the budget of time is too short for one pair")
        self.now_s += 10
        self.asked.append([side.label for side in sides])
        found, errors = {}, {}
        for number, side in enumerate(sides):
            if (words := self.error(side)) is not None:
                errors[str(number)] = words
                continue
            luck = self._random.gauss(1, self.process_noise)
            times = [0.04 * luck * self._random.gauss(1, self.noise) / self.speed(side)] * 20
            found[str(number)] = SideOfPair(
                start_up_s=2.0,
                compile_s=None,
                started_alone=False,
                tokens_per_step=None,
                workers=0,
                software=SOFTWARE,
                steps_s=times,
                control_s=[0.003] * 20,
                losses=[2.0] * 20,
                peak_bytes=None,
                writes=[],
                places={"optimizer": "train.py:88"} if "optimizer" in side.adjust else {},
            )
        return ScriptPair(
            number=len(self.asked), at_s=0.0, seconds=10.0, sides=found, errors=errors
        )

    def losses(
        self, sides: Sequence[SideSpec], steps: int, left_s: float
    ) -> list[list[float | None] | str]:
        self.now_s += 5
        return [[self.loss(side) + 0.002 * int(side.adjust["seed"])] * steps for side in sides]


def search(bench: MadeUp, *knobs: Knob, budget_s: float = 1000.0) -> Advice:
    return ScriptSearch(BASE, bench, MACHINE, knobs, budget_s, now_s=lambda: bench.now_s).run()


def fused_is(ratio: float) -> Speed:
    return lambda side: ratio if side.adjust.get("optimizer") == "fused" else 1.0


def test_what_helps_is_kept_verified_and_typed() -> None:
    bench = MadeUp(fused_is(1.2))
    found = search(bench, MATH, FUSED, BOUND)
    assert found.knobs == ("adamw fused",)
    assert found.verified is not None
    assert found.verified.ratio == pytest.approx(1.2, rel=0.02)
    assert found.verified.processes >= 3
    assert found.ended == COMPLETE
    assert found.changes == ("train.py:88: torch.optim.AdamW(…, fused=True)",)
    assert found.command == "python train.py --x"
    text = advice_text(found)
    assert "Best verified: adamw fused" in text
    assert "train.py:88" in text
    assert bench.asked[-1] == ["as it is", "as it is", "found"]


def test_variables_are_typed_in_the_command() -> None:
    def speed(side: SideSpec) -> float:
        return 1.3 if "OMP_PLACES" in side.environment else 1.0

    found = search(MadeUp(speed), BOUND)
    assert found.command == "OMP_PROC_BIND=true OMP_PLACES=cores python train.py --x"
    assert found.changes == ()


def test_nothing_that_helps_is_no_advice_and_costs_no_verification() -> None:
    bench = MadeUp(lambda side: 1.0)
    found = search(bench, MATH, FUSED)
    assert (found.knobs, found.verified) == ((), None)
    assert "Stay with the baseline: nothing that was tried is faster" in advice_text(found)
    assert not any("found" in sides for sides in bench.asked)


def wild_at_first(speed: Speed) -> MadeUp:
    """In the first pair the rounds of side 1 differ by much."""
    bench = MadeUp(speed)
    alike = bench.pair

    def pair(sides: Sequence[SideSpec], **more: Any) -> ScriptPair:
        found = alike(sides, **more)
        if len(bench.asked) == 1:
            wild = [1.15, 1.15, 0.85, 0.85] * 5
            one = found.sides["1"]
            one.steps_s = [s * w for s, w in zip(one.steps_s, wild, strict=True)]
        return found

    bench.pair = pair  # type: ignore[method-assign]
    return bench


@pytest.mark.parametrize(
    ("budget_s", "asked", "knobs"),
    [
        (1000.0, ["the rest", "some"], ("adamw fused",)),
        (60.0, ["as it is", "as it is", "found"], ("adamw fused",)),
        (45.0, None, ()),
    ],
)
def test_what_looks_faster_and_is_unclear_is_looked_at_again_while_there_is_time(
    budget_s: float, asked: list[str] | None, knobs: tuple[str, ...]
) -> None:
    """Among others, or at least in the check."""
    bench = wild_at_first(fused_is(1.05))
    found = search(bench, FUSED, budget_s=budget_s)
    assert found.knobs == knobs
    assert bench.asked[1:2] == ([asked] if asked else [])
    assert [one.effect is not None for one in found.tries if not one.kept] == [True]
    assert (found.ended == OUT_OF_BUDGET) == (budget_s < 1000)


def test_what_need_not_be_held_back_any_more_is_for_those_not_tried() -> None:
    bench = wild_at_first(lambda side: 1.5 if side.adjust.get("attention") == "math" else 1.0)
    rest = [anywhere("adamw foreach"), anywhere("adamw for-loop"), MATH]
    found = search(bench, FUSED, BOUND, DENORMALS, *rest, budget_s=50.0)
    assert bench.asked[1] == ["as it is", "adamw foreach", "adamw for-loop", "attention math"]
    assert found.knobs == ("attention math",)
    assert not any("not tried" in str(one.reason) for one in found.tries)


def test_long_shots_come_after_allocators() -> None:
    bench = MadeUp(lambda side: 1.0)
    search(bench, MATH, anywhere("malloc keeps memory"), FUSED)
    tried = [label for sides in bench.asked for label in sides[1:]]
    assert tried == ["adamw fused", "malloc keeps memory", "attention math"]


def test_two_settings_that_win_the_same_time_share_it() -> None:
    found = search(
        MadeUp(lambda side: 1.2 if len(side.adjust) or side.environment else 1.0), FUSED, BOUND
    )
    among = [one.effect.ratio for one in found.tries if one.kept and one.effect]
    assert among == pytest.approx([1.2**0.5] * 2, rel=0.01)
    assert found.verified is not None
    assert found.verified.ratio == pytest.approx(1.2, rel=0.01)


def test_two_knobs_of_one_setting_are_not_put_together() -> None:
    foreach = anywhere("adamw foreach")
    found = search(MadeUp(lambda side: 1.2 if "optimizer" in side.adjust else 1.0), FUSED, foreach)
    assert len(found.knobs) == 1
    assert any("changes the same setting as" in str(one.reason) for one in found.tries)


def test_what_costs_loss_is_dropped_and_the_rest_is_verified() -> None:
    def speed(side: SideSpec) -> float:
        return fused_is(1.1)(side) * (1.3 if side.adjust.get("flush_denormals") else 1.0)

    def loss(side: SideSpec) -> float:
        return 2.5 if side.adjust.get("flush_denormals") else 2.0

    found = search(MadeUp(speed, loss=loss), FUSED, DENORMALS)
    assert found.knobs == ("adamw fused",)
    assert any("costs loss: +0.500" in str(one.reason) for one in found.tries)
    assert found.learning is None


def test_the_same_loss_is_said() -> None:
    speed: Speed = lambda side: 1.3 if side.adjust.get("flush_denormals") else 1.0  # noqa: E731
    found = search(MadeUp(speed), DENORMALS)
    assert found.knobs == ("flush denormals",)
    assert found.learning is not None
    assert "after 300 steps its loss lies +0.000" in advice_text(found)


def test_a_machine_that_is_too_busy_gets_no_advice() -> None:
    bench = MadeUp(fused_is(1.5), process_noise=0.3)
    found = search(bench, FUSED, budget_s=75.0)
    assert found.knobs == ()
    assert found.refusal is not None


def test_an_unclear_verification_takes_more_pairs_where_the_budget_has_them() -> None:
    found = search(MadeUp(fused_is(1.06), process_noise=0.04), FUSED)
    assert found.verified is not None
    assert found.verified.processes == 12
    in_less = search(MadeUp(fused_is(1.06), process_noise=0.04), FUSED, budget_s=75.0)
    assert in_less.verified is not None
    assert in_less.verified.processes == 6


def test_a_knob_that_meets_nothing_is_said_and_the_rest_goes_on() -> None:
    def errors(side: SideSpec) -> str | None:
        return "it makes no optimizer" if "optimizer" in side.adjust else None

    found = search(MadeUp(lambda side: 1.0, errors=errors), FUSED, MATH)
    assert {one.knob: one.reason for one in found.tries}["adamw fused"] == "it makes no optimizer"


def test_a_budget_that_ends_leaves_the_rest_untried() -> None:
    found = search(MadeUp(lambda side: 1.0), *KNOBS.values(), budget_s=25.0)
    assert found.ended == OUT_OF_BUDGET
    assert any(one.reason == "not tried: no budget left for it" for one in found.tries)


def test_an_interrupt_recommends_nothing() -> None:
    bench = MadeUp(fused_is(1.5))
    pair = bench.pair

    def interrupted(sides: Sequence[SideSpec], **more: Any) -> ScriptPair:
        if len(bench.asked) == 1:
            raise KeyboardInterrupt
        return pair(sides, **more)

    bench.pair = interrupted  # type: ignore[method-assign]
    found = search(bench, FUSED)
    assert (found.ended, found.knobs) == (INTERRUPTED, ())
    assert [one.kept for one in found.tries] == [False]


def test_a_script_that_fails_as_it_is_is_told() -> None:
    bench = MadeUp(lambda side: 1.0, errors=lambda side: "the script failed: planted")
    with pytest.raises(UnrunnableError, match="planted"):
        search(bench, FUSED)


# --- what is turned ------------------------------------------------------------------------------


def test_the_catalogues_knobs_are_the_scripts_where_its_process_can_make_them() -> None:
    wanted = {"jemalloc", "adamw fused", "compile", "bf16 autocast", "bf16 weights", "tf32"}
    wanted |= {"loader workers-2", "one thread", "huge pages", "attention math"}
    assert wanted <= set(KNOBS)
    assert not {"batch x2", "log every 10", "gelu tanh", "fp16 autocast"} & set(KNOBS)


def test_threads_are_in_the_command_and_not_in_the_code() -> None:
    turned = Turned().and_(KNOBS["one thread"], MACHINE)
    assert command_line(BASE, turned) == "OMP_NUM_THREADS=1 python train.py --x"
    assert code_lines(turned, MACHINE, {}) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothere.py"], "there is no script 'nothere.py'"),
        (["train.py", "--preset", "gpt2"], "--preset is for our own loop"),
        (["train.py", "--knobs", "batch x2"], "'batch x2' is no knob that can be turned"),
        (["train.py", "--budget", "3s"], "a budget of 3 s is too short"),
        (["torchrun train.py"], "torchrun starts several processes"),
        (["nopython -m x"], "there is no script 'nopython'"),
        (["pythonx train.py"], "there is no Python 'pythonx'"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    (tmp_path / "train.py").write_text("import torch\n")
    monkeypatch.chdir(tmp_path)
    assert_refused(capsys, ["advise", *arguments], words, status=2)
