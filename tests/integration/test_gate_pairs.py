"""Real processes of both sides, each with its own code under test."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mfubench.cli import main
from mfubench.gate.command.run import COULD_NOT_RUN
from mfubench.gate.measure.cases import gate_cases
from mfubench.gate.measure.pairs import CANDIDATE, PairBench, case_pairs
from mfubench.gate.measure.variants import (
    HARNESS,
    MODEL,
    MODEL_UNDER_TEST,
    Variant,
    variant,
)
from mfubench.pairs import machine_lock
from mfubench.pairs.fork_server import ForkServers
from mfubench.pairs.side import Side, SideError
from tests.one_sentence import assert_refused

CASE = gate_cases("nanogpt-cpu", "cpu", threads=1)[0]
PLANTED = """
    def forward(self, x_BTC: Tensor) -> Tensor:
        return 2 * self.forward_without(x_BTC)
"""


@pytest.fixture(scope="module")
def changed_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as it is, but for the output of each MLP."""
    tree = tmp_path_factory.mktemp("changed")
    shutil.copytree(MODEL, tree / MODEL_UNDER_TEST, ignore=shutil.ignore_patterns("__pycache__"))
    path = tree / MODEL_UNDER_TEST / "gpt.py"
    text = path.read_text(encoding="utf-8")
    start = text.index("class MLP(")
    method = text.index("    def forward(self", start)
    renamed = text[method:].replace("def forward(self", "def forward_without(self", 1)
    path.write_text(text[:method] + PLANTED.lstrip("\n") + "\n" + renamed, encoding="utf-8")
    return tree


@pytest.fixture
def forks() -> Iterator[ForkServers]:
    with ForkServers() as forks:
        yield forks


def variants(tmp_path: Path, tree: Path) -> tuple[Variant, Variant]:
    base = variant("base", HARNESS, tmp_path / "a")
    return base, variant("candidate", tree, tmp_path / "b")


def test_a_pair_runs_each_side_with_its_own_code(
    tmp_path: Path, changed_tree: Path, forks: ForkServers
) -> None:
    bench = PairBench(
        *variants(tmp_path, changed_tree), cache=tmp_path, turns=2, plants=(0.5,), forks=forks
    )
    pair = bench.pair([CASE], 0)
    found = case_pairs([pair], CASE.id)
    assert len(found.step) == len(found.control) == 1
    base_loss, loss = found.counted["loss"]
    assert abs(loss / base_loss - 1) > 1e-3
    base_bytes, held_bytes = found.counted["peak memory"]
    assert held_bytes >= base_bytes > 0
    planted = pair["cases"][CASE.id]["times"]["planted"]["0.5"]
    assert len(planted["base"]) == len(planted["step"]) == 2
    assert all(0 < e < s for s, e in zip(planted["step"], planted["extra"], strict=True))


def test_code_that_does_not_import_is_a_failure_of_its_side(
    tmp_path: Path, changed_tree: Path, forks: ForkServers
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(changed_tree / "model", broken / "model")
    (broken / MODEL_UNDER_TEST / "gpt.py").write_text(
        "raise RuntimeError('half a change')\n", encoding="utf-8"
    )
    bench = PairBench(*variants(tmp_path, broken), cache=tmp_path, turns=1, forks=forks)
    pair = bench.pair([CASE], 0)
    errors = pair["cases"][CASE.id]["errors"]
    assert set(errors) == {CANDIDATE}
    assert "half a change" in errors[CANDIDATE]


def test_a_model_from_elsewhere_is_refused(
    tmp_path: Path, changed_tree: Path, forks: ForkServers
) -> None:
    base, _ = variants(tmp_path, changed_tree)
    elsewhere = replace(base, tree=tmp_path)
    with base.start(CASE, forks, cache=tmp_path) as side:
        elsewhere.build(side, CASE, corpus=None, cache=tmp_path, seed=1)
        with pytest.raises(SideError, match="the model was loaded from"):
            elsewhere.built(side)


def test_a_side_that_is_killed_fails_alone_and_is_replaced_for_the_next_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forks: ForkServers
) -> None:
    turn = Side.turn

    def killed_once(side: Side, steps: int, **wanted: object) -> dict[str, float]:
        if side.name == CANDIDATE and not killed:
            killed.append(side._process.pid)
            os.kill(side._process.pid, signal.SIGKILL)
        return turn(side, steps, **wanted)

    killed: list[int] = []
    monkeypatch.setattr(Side, "turn", killed_once)
    bench = PairBench(*variants(tmp_path, HARNESS), cache=tmp_path, turns=2, forks=forks)
    other = gate_cases("nanogpt-cpu", "cpu", threads=1)[1]
    cases = bench.pair([CASE, other], 1)["cases"]
    words = "the process ended (status -9): it said nothing"
    assert cases[CASE.id] == {"errors": {CANDIDATE: words}}
    assert len(cases[other.id]["times"]["step"][CANDIDATE]) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "is in no git repository"),
        (["--cases", "gpt9", "--set", "gelu=tanh"], "'gpt9' fits no case"),
        (["--set", "speed=2"], "'speed=2' is no KEY=VALUE of a training loop"),
        (["--set", "gelu=relu"], "gelu is 'relu'; allowed: exact, tanh"),
        (["--pairs", "3"], "3 pairs: fewer than 6 say nothing"),
        (["--device", "cuda:77"], "cuda:77 cannot be used"),
        (["--base-python", "nowhere/python"], "--base-python nowhere/python is no program"),
        (["--floor", "0.2"], "the floor (0.2) must be below the tolerance (0.05)"),
        (["--against", "absent.json"], "absent.json cannot be read"),
        (["--self-test", "--pairs", "10"], "a self-test stores at least 20"),
    ],
)
def test_what_cannot_be_gated_is_one_sentence_and_status_3(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine_lock, "lock_path", lambda: tmp_path / "lock")
    assert_refused(capsys, ["gate", *arguments], words, status=COULD_NOT_RUN)


def test_what_cannot_be_parsed_is_not_taken_for_an_inconclusive_gate(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["gate", "--pairs", "many"])
    assert ended.value.code == COULD_NOT_RUN
    assert "invalid int value: 'many'" in capsys.readouterr().err
