"""A real script with each setting turned from outside: it is met, and the script trains on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mfubench.pairs.pairing import TurnPlan
from mfubench.sides import bench as bench_module
from mfubench.sides.bench import ScriptBench
from mfubench.sides.pair import ScriptPair
from mfubench.sides.spec import SideSpec
from tests.repository_with_a_script import made
from tests.unit.compare.test_pairs import Still

TURNED: dict[str, dict[str, Any]] = {
    "plain": {},
    "optimizer": {"optimizer": "fused"},
    "compile": {"compile": "eager"},
    "autocast": {"dtype": "bfloat16"},
    "weights": {"weights": "bfloat16"},
    "seed": {"seed": 1},
    "loader": {"loader": "workers-2"},
}
COMPILED = {**TURNED["compile"], **TURNED["autocast"]}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptPair]:
    """One pair of all of them."""
    folder = made(tmp_path_factory.mktemp("adjusted") / "repository")
    settings = {**TURNED, "compile and autocast": COMPILED}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_module, "turn_plan", lambda step_s: TurnPlan(4, 4, 2))
        sides = [
            SideSpec(
                label=name,
                words=("train.py",),
                cwd=folder,
                environment={"OMP_NUM_THREADS": "1"},
                adjust=adjust,
            )
            for name, adjust in settings.items()
        ]
        bench = ScriptBench(sides=sides, folder=folder, control=Still(), settle_s=0.0)
        yield bench.pair(range(len(sides)), 1, 600.0)


def side(pair: ScriptPair, name: str) -> Any:
    return pair.sides[str([*TURNED, "compile and autocast"].index(name))]


def test_each_setting_meets_the_line_of_the_script_that_it_is_about(pair: ScriptPair) -> None:
    assert side(pair, "plain").places == {}
    text = (Path(__file__).parents[1] / "repository_with_a_script/train.py").read_text()
    lines = text.splitlines()

    def line(name: str, setting: str) -> str:
        file, _, number = side(pair, name).places[setting].partition(":")
        assert file == "train.py"
        return lines[int(number) - 1]

    assert "torch.optim.AdamW(" in line("optimizer", "optimizer")
    assert "loss = run(" in line("compile", "compile")
    assert "loss = run(" in line("autocast", "dtype")
    assert "torch.manual_seed(1)" in line("seed", "seed")


def test_a_setting_that_meets_nothing_says_why(pair: ScriptPair) -> None:
    which = str(list(TURNED).index("loader"))
    assert pair.errors == {
        which: "it makes no DataLoader over a map-style data set without workers"
    }


def test_compiling_from_outside_makes_graphs_and_keeps_the_losses(pair: ScriptPair) -> None:
    plain, compiled = side(pair, "plain"), side(pair, "compile")
    assert (plain.graphs, compiled.graphs > 0) == (0, True)
    assert compiled.losses == pytest.approx(plain.losses, rel=1e-3)
    assert side(pair, "compile and autocast").graphs > 0


@pytest.mark.parametrize("name", ["autocast", "weights", "compile and autocast"])
def test_sixteen_bits_change_the_losses_and_not_by_much(pair: ScriptPair, name: str) -> None:
    plain, cast = side(pair, "plain"), side(pair, name)
    assert cast.losses != plain.losses
    assert cast.losses == pytest.approx(plain.losses, rel=0.05)


def test_another_seed_is_another_run(pair: ScriptPair) -> None:
    assert side(pair, "seed").losses[0] != side(pair, "plain").losses[0]


def test_the_fused_optimizer_learns_the_same(pair: ScriptPair) -> None:
    assert side(pair, "optimizer").losses == pytest.approx(side(pair, "plain").losses, rel=1e-3)
