"""A real script of somebody, a branch per bug: what one pair of processes says of each.

Times are not judged here: benchmarks/gate_of_scripts.py does that, and reports.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mfubench.cli import build_parser
from mfubench.gate.command.setup import gate_bench
from mfubench.gate.measure.pairs import BASE, CANDIDATE, case_pairs
from mfubench.gate.rules.limits import Limits
from mfubench.gate.rules.policy import GRAPHS, LOSS, PASS, REGRESSED, judge_case
from mfubench.pairs.pairing import TurnPlan
from mfubench.sides import bench as bench_module
from tests.repository_with_a_script import git, made

PLAIN = "train.py config/ci.json"
CASE = f"{PLAIN} --compile=eager"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("somebody") / "repository")


@pytest.fixture(autouse=True)
def few_turns(monkeypatch: pytest.MonkeyPatch, repository: Path) -> Iterator[None]:
    monkeypatch.setattr(bench_module, "turn_plan", lambda step_s: TurnPlan(4, 4, 8))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(repository)
    yield
    git(repository, "checkout", "-q", "main")


def pair_of(
    repository: Path, branch: str, case: str = CASE
) -> tuple[dict[str, Any], dict[str, str]]:
    """One pair of a branch against main, and the verdicts on what repeats exactly."""
    git(repository, "checkout", "-q", branch)
    arguments = build_parser().parse_args(["gate", "--script", case])
    with gate_bench(arguments, {}) as (bench, cases, _):
        pair = bench.pair(cases, 0)
    found = pair["cases"][case]
    if "errors" in found:
        return found, {}
    judged = judge_case(case_pairs([pair], case), Limits(), family=3, looks=[1], most=30)
    assert git(repository, "status", "--short") == ""
    assert len(git(repository, "worktree", "list").splitlines()) == 1
    return found, {one.metric: one.verdict for one in judged if one.metric in (LOSS, GRAPHS)}


def growth(found: dict[str, Any]) -> float:
    """Of the memory, the candidate's over the base's."""
    counts = found["counts"]
    return float(counts[CANDIDATE]["peak_bytes"] / counts[BASE]["peak_bytes"])


def test_a_branch_that_changes_nothing_learns_and_compiles_the_same(repository: Path) -> None:
    found, verdicts = pair_of(repository, "nothing")
    assert verdicts == {LOSS: PASS, GRAPHS: PASS}
    assert found["losses"][BASE] == found["losses"][CANDIDATE]
    assert found["counts"][BASE]["graphs"] > 0
    assert growth(found) == pytest.approx(1.0, abs=0.03)
    assert not (repository / "out").exists()  # each side has written into its own checkout


def test_memory_that_is_kept_is_seen(repository: Path) -> None:
    found, verdicts = pair_of(repository, "memory", PLAIN)
    assert growth(found) > 1.04
    assert verdicts[LOSS] == PASS


def test_a_lost_compile_is_seen(repository: Path) -> None:
    found, verdicts = pair_of(repository, "compile-lost")
    assert verdicts[GRAPHS] == REGRESSED
    assert found["counts"][CANDIDATE]["graphs"] == 0


def test_another_learning_rate_is_another_loss(repository: Path) -> None:
    _, verdicts = pair_of(repository, "loss")
    assert verdicts[LOSS] == REGRESSED


def test_a_crash_is_named_with_the_scripts_words(repository: Path) -> None:
    found, _ = pair_of(repository, "crash")
    assert list(found["errors"]) == [CANDIDATE]
    assert "AttributeError: 'Model' object has no attribute 'nothing'" in found["errors"][CANDIDATE]


def test_data_that_git_has_not_is_named_and_linked(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    git(repository, "checkout", "-q", "-b", "other-data", "main")
    script = repository / "train.py"
    script.write_text(script.read_text().replace("data/text.txt", "data/text.bin"))
    git(repository, "commit", "-q", "-a", "-m", "reads what git has not")
    (repository / "data/text.bin").write_bytes((repository / "data/text.txt").read_bytes())
    arguments = build_parser().parse_args(["gate", "--base", "HEAD", "--script", CASE])
    with gate_bench(arguments, {}) as (bench, cases, _):
        errors = bench.pair(cases, 0)["cases"][CASE]["errors"]
    assert "not in git, so neither side has it: data/text.bin" in capsys.readouterr().err
    assert "data/text.bin is in your working tree and not in git" in errors[BASE]
    arguments.link = ["data/text.bin"]
    with gate_bench(arguments, {}) as (bench, cases, _):
        assert "errors" not in bench.pair(cases, 0)["cases"][CASE]
