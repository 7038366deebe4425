"""Sides of scripts that are forked from a process that has loaded torch: who is, and that nothing
of what is found changes by it. No time is asserted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mfubench.measure.loop_config import HELD_MEMORY
from mfubench.sides.bench import ScriptBench
from mfubench.sides.forks import ScriptForks
from mfubench.sides.pair import ScriptPair
from mfubench.sides.spec import SideSpec
from tests.unit.compare.test_pairs import Still, no_process_is_left
from tests.unit.compare.test_scripts import SCRIPT, WAYS

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks sides"),
    pytest.mark.usefixtures("few_turns"),
]
MIB = 2**20
HELD_BYTES = 300 * MIB

TELLS = f"""
import os, sys
told = [str("torch" in sys.modules)]
if sys.argv[1] == "chooses":
    os.environ["MFUBENCH_TRIED"] = "1"
import numpy, torch
told.append(str(numpy.random.random()))
with open("told.txt", "a") as file:
    print(*told, file=file)
model = torch.nn.Linear(4, 4)
held = torch.ones({HELD_BYTES // 4})
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
while True:
    model(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
"""


@pytest.fixture
def forks() -> Iterator[ScriptForks]:
    with ScriptForks() as forks:
        yield forks
    assert no_process_is_left()


def pairs(
    specs: list[SideSpec], folder: Path, forks: ScriptForks, numbers: tuple[int, ...] = (1, 2)
) -> list[ScriptPair]:
    """One pair of processes of their own, and one when it is known which may be forked."""
    made = ScriptBench(sides=specs, folder=folder, control=Still(), settle_s=0.0, forks=forks)
    return [made.pair(range(len(specs)), number, 600.0) for number in numbers]


def spec(script: Path, arguments: str, folder: Path) -> SideSpec:
    environment = {"OMP_NUM_THREADS": "1"}
    words = (str(script), *arguments.split())
    return SideSpec(label=arguments, words=words, cwd=folder, environment=environment)


def test_every_way_to_train_gives_the_same_in_a_fork(tmp_path: Path, forks: ScriptForks) -> None:
    own, forked = pairs([spec(SCRIPT, way, tmp_path) for way in WAYS], tmp_path, forks)
    assert not own.errors
    assert not forked.errors
    for number, _way in enumerate(WAYS):
        before, after = own.sides[str(number)], forked.sides[str(number)]
        steps = min(len(before.losses), len(after.losses))
        assert before.losses[:steps] == after.losses[:steps]
        assert before.tokens_per_step == after.tokens_per_step
        assert before.workers == after.workers
        assert before.software == after.software


@pytest.mark.parametrize(("how", "forked"), [("plain", "True"), ("chooses", "False")])
def test_a_script_that_sets_its_environment_before_torch_is_not_forked(
    how: str, forked: str, tmp_path: Path, forks: ScriptForks
) -> None:
    script = tmp_path / "tells.py"
    script.write_text(TELLS)
    one = SideSpec(label=how, words=(str(script), how), cwd=tmp_path)
    first, second = pairs([one, one], tmp_path, forks)
    told = [line.split() for line in (tmp_path / "told.txt").read_text().splitlines()]
    assert [loaded for loaded, _ in told] == ["False", "False", forked, forked]
    assert len({number for _, number in told}) == 4, "numbers drawn without a seed are its own"
    own, later = (pair.sides["0"].peak_bytes for pair in (first, second))
    assert own is not None
    assert later is not None
    assert HELD_BYTES <= own <= HELD_BYTES + 120 * MIB
    assert later == pytest.approx(own, abs=10 * MIB)


@pytest.mark.parametrize(
    ("numbers", "environment", "forked"),
    [
        ((0,), {}, ["False", "False"]),
        ((0, 1), {}, ["False", "False", "True", "True"]),
        ((1, 2), {"GLIBC_TUNABLES": "glibc.malloc.arena_max=2"}, ["False"] * 4),
    ],
    ids=["the first pair", "the second pair", "one that cannot be forked"],
)
def test_all_sides_of_a_pair_are_forked_or_none(
    numbers: tuple[int, ...],
    environment: dict[str, str],
    forked: list[str],
    tmp_path: Path,
    forks: ScriptForks,
) -> None:
    script = tmp_path / "tells.py"
    script.write_text(TELLS)
    words = (str(script), "plain")
    sides = [
        SideSpec(label="as it is", words=words, cwd=tmp_path),
        SideSpec(label="another", words=words, cwd=tmp_path, environment=environment),
    ]
    assert not any(pair.errors for pair in pairs(sides, tmp_path, forks, numbers))
    told = [line.split() for line in (tmp_path / "told.txt").read_text().splitlines()]
    assert [loaded for loaded, _ in told] == forked


def test_only_what_is_steadied_and_known_is_forked(tmp_path: Path, forks: ScriptForks) -> None:
    known, unknown = (
        SideSpec(label=name, words=(name,), cwd=tmp_path) for name in ("known.py", "unknown.py")
    )
    forks.learn(known, {"may_fork": True})
    command = [sys.executable]
    assert forks.start_of(known, command, HELD_MEMORY) is not None
    assert forks.start_of(known, command, {"MALLOC_ARENA_MAX": "1"}) is None
    assert forks.start_of(unknown, command, HELD_MEMORY) is None
