"""The gate of somebody's training script: what is compared, how it is judged, what is refused.

Pairs are made up here, or are of a side that stands in for a script. No time is asserted.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mfubench.cli import main
from mfubench.gate.measure import script_counts
from mfubench.gate.measure.pairs import BASE, CANDIDATE, case_pairs
from mfubench.gate.rules.limits import Limits
from mfubench.gate.rules.policy import (
    GRAPHS,
    IMPROVED,
    INCONCLUSIVE,
    LOSS,
    MEMORY,
    PASS,
    REGRESSED,
    Judged,
    judge_case,
)
from mfubench.pairs import machine_lock
from mfubench.pairs.pairing import TurnPlan
from mfubench.report.bodies import BODIES
from mfubench.results.schema import problems
from mfubench.sides import bench as bench_module
from tests.one_sentence import assert_refused
from tests.repository_with_a_script import BRANCHES, git, made
from tests.unit.compare.test_pairs import no_process_is_left
from tests.unit.gate.made_up_pairs import measured

FAKE = Path(__file__).parents[1] / "compare" / "fake_side.py"
MIB = 2**20
SAME = [4.0, 3.5, 3.0, 2.8]


def of_script(
    number: int,
    *,
    peak: tuple[float, float] = (400 * MIB, 400 * MIB),
    graphs: tuple[int, int] = (0, 0),
    losses: tuple[list[Any], list[Any]] = (SAME, SAME),
    slower: float = 0.0,
) -> dict[str, Any]:
    """A pair of a script, made up."""
    names = (BASE, CANDIDATE)
    about = {
        "is_cold": number == 0,
        "counts": {
            name: {"peak_bytes": peak[i], "graphs": graphs[i]} for i, name in enumerate(names)
        },
        "compiled": any(graphs),
        "losses": dict(zip(names, losses, strict=True)),
    }
    return {"number": number, "at_s": 0.0, "cases": {"train.py": measured(slower) | about}}


def judged(pair: Callable[[int], dict[str, Any]], count: int = 6) -> dict[str, Judged]:
    """Every metric after so many pairs, one of at most 30."""
    found = case_pairs([pair(number) for number in range(count)], "train.py")
    return {
        one.metric: one
        for one in judge_case(found, Limits(), family=3, looks=[count], most=30)
        if one.pairs
    }


def wobble(number: int, by: float = 0.003) -> float:
    return (1 + by, 1 - by, 1.0)[number % 3]


@pytest.mark.parametrize(
    ("growth", "verdict"), [(1.0, PASS), (1.06, REGRESSED), (0.9, IMPROVED), (1.01, PASS)]
)
def test_memory_of_processes_is_judged_by_its_pairs(growth: float, verdict: str) -> None:
    def pair(number: int) -> dict[str, Any]:
        base = 400 * MIB * wobble(number)
        return of_script(number, peak=(base, 400 * MIB * growth * wobble(number + 1)))

    assert judged(pair)[MEMORY].verdict == verdict


def test_memory_that_varies_too_much_gets_more_pairs() -> None:
    one = judged(lambda n: of_script(n, peak=(400 * MIB, 400 * MIB * wobble(n, 0.05))))[MEMORY]
    assert (one.verdict, one.is_open) == (INCONCLUSIVE, True)


def test_a_few_blocks_of_a_small_process_are_no_growth() -> None:
    assert judged(lambda n: of_script(n, peak=(20 * MIB, 21 * MIB)))[MEMORY].verdict == PASS


@pytest.mark.parametrize(
    ("graphs", "verdict"), [((1, 1), PASS), ((1, 0), REGRESSED), ((1, 3), REGRESSED)]
)
def test_graphs_lost_or_made_again_are_a_regression(graphs: tuple[int, int], verdict: str) -> None:
    assert judged(lambda n: of_script(n, graphs=graphs))[GRAPHS].verdict == verdict


def test_a_script_that_compiles_nothing_has_no_graphs_to_judge() -> None:
    assert GRAPHS not in judged(of_script)


@pytest.mark.parametrize(
    ("candidate", "verdict"),
    [
        (SAME, PASS),
        ([4.0, 3.5, 3.001, 2.8], PASS),
        ([4.0, 3.4, 3.0, 2.8], REGRESSED),
        ([4.0, 3.5, None, 2.8], REGRESSED),
        ([3.9, 3.4, 2.9, 2.7], REGRESSED),
    ],
)
def test_losses_are_compared_where_they_are_farthest_apart(
    candidate: list[Any], verdict: str
) -> None:
    assert judged(lambda n: of_script(n, losses=(SAME, candidate)))[LOSS].verdict == verdict


def test_a_script_that_does_not_repeat_its_losses_is_judged_by_their_means() -> None:
    def noisy(number: int, factor: float, by: float) -> list[Any]:
        return [loss * factor * wobble(number, by) for loss in SAME]

    def pair(number: int, factor: float, by: float) -> dict[str, Any]:
        mine = noisy(number + 1, factor, by)
        return of_script(number, losses=(noisy(number, 1.0, by), mine))

    assert judged(lambda n: pair(n, 1.0, 0.003))[LOSS].verdict == PASS
    assert judged(lambda n: pair(n, 1.2, 0.003))[LOSS].verdict == REGRESSED
    wild = judged(lambda n: pair(n, 1.0, 0.2))[LOSS]
    assert wild.verdict == INCONCLUSIVE
    assert "does not repeat its own losses" in str(wild.reason)


def test_a_script_without_a_loss_has_none_to_judge() -> None:
    assert LOSS not in judged(lambda n: of_script(n, losses=([None] * 3, [None] * 3)))
    assert script_counts.mean_log_ratio([None], [None]) is None


# --- as it is typed, on sides that stand in for the script ---------------------------------------


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository with the script, nobody else measuring."""
    folder = made(tmp_path / "repository")
    monkeypatch.setattr(machine_lock, "lock_path", lambda: tmp_path / "timing.lock")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def fake(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same with sides that stand in for the script: their arguments say how fast they are."""
    monkeypatch.setattr(bench_module, "PROGRAM", FAKE)
    monkeypatch.setattr(bench_module, "turn_plan", lambda step_s: TurnPlan(6, 6, 1))
    return repository


def nothing_is_left(folder: Path) -> bool:
    worktrees = git(folder, "worktree", "list").splitlines()
    return len(worktrees) == 1 and no_process_is_left()


def test_two_scripts_of_the_table_are_two_cases_with_a_verdict_each(
    fake: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = fake / "pyproject.toml"
    table.write_text('[tool.mfubench.gate]\nscript = ["train.py", "train.py --start=8"]\n')
    assert main(["gate", "--base", "HEAD", "--json", "--junit", "out/gate.xml"]) == 3
    assert "out" in capsys.readouterr().err  # there is no such folder yet
    (fake / "out").mkdir()
    assert main(["gate", "--base", "HEAD", "--json", "--junit", "out/gate.xml"]) == 0
    said = capsys.readouterr()
    data = json.loads(said.out)
    assert [case["id"] for case in data["cases"]] == ["train.py", "train.py --start=8"]
    assert (data["verdict"], data["preset"], data["device"]) == ("pass", None, "cpu")
    assert {one["metric"] for one in data["cases"][0]["metrics"]} == {
        "step time",
        "start-up",
        "loss",
        "peak memory",
    }
    assert "1 file changed since the last commit" in said.err
    (saved,) = fake.glob("results/*/gate/0001_*.json")
    assert problems(json.loads(saved.read_text()), BODIES) == []
    assert str(fake) not in saved.read_text()
    assert (
        '<testcase classname="gate" name="train.py --start=8"' in Path("out/gate.xml").read_text()
    )
    assert nothing_is_left(fake)


def test_a_script_that_takes_longer_is_red_and_one_that_learns_otherwise_too(
    fake: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = ["gate", "--base", "HEAD", "--script", "train.py --step_s=0.011", "--base-script"]
    assert main([*slow, "train.py --step_s=0.010"]) == 1
    said = capsys.readouterr().out
    assert "+10.0 %" in said
    assert "regressed" in said
    other = ["gate", "--base", "HEAD", "--script", "train.py --lr=5", "--base-script", "train.py"]
    assert main([*other, "--markdown"]) == 1
    assert "| loss |" in capsys.readouterr().out


def test_a_gate_of_a_clean_tree_against_itself_is_one_more_of_the_ledger(fake: Path) -> None:
    assert main(["gate", "--base", "HEAD", "--script", "train.py"]) == 0
    line = json.loads((fake / "results/gates-without-a-change.jsonl").read_text())
    assert (line["preset"], line["is_red"]) == (None, False)


def test_what_is_new_or_changed_is_part_of_the_candidate_and_of_nothing_else(
    fake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "turns.txt"
    (fake / "new.py").write_text("print('new')\n")
    (fake / "data" / "more.bin").write_bytes(b"ignored by git")
    words = f"train.py --log={log} --who=X"
    assert main(["gate", "--base", "HEAD", "--script", words, "--link", "data"]) == 0
    assert "1 file changed" in capsys.readouterr().err
    assert "turn" in log.read_text()
    assert git(fake, "status", "--short") == "?? new.py"
    assert nothing_is_left(fake)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--script", "nothere.py"], "there is no script 'nothere.py' in the working tree"),
        (["--script", "train.py 'x"], "is no command"),
        (["--script", "torchrun train.py"], "torchrun starts several processes"),
        (["--script", "/tmp/train.py"], "is named by its whole path"),
        (["--script", "train.py", "--script", "train.py"], "is given twice"),
        (["--script", "train.py", "--preset", "gpt2"], "--preset is for our own loop"),
        (["--script", "train.py", "--self-test"], "--self-test is for our own loop"),
        (["--script", "train.py", "--base", "v9"], "there is no revision 'v9'"),
        (["--script", "train.py", "--python", "nopython"], "there is no Python 'nopython'"),
        (["--script", "train.py", "--link", "nodata"], "there is no nodata in the working tree"),
        (["--script", "train.py", "--link", "../x"], "name a path inside the repository"),
        (["--script", "train.py", "--pairs", "2"], "2 pairs: fewer than 6 say nothing"),
        (["--script", "train.py", "--cases", "eval"], "'eval' fits no case"),
        (["--script", "a.py", "--base-script", "a.py", "--base-script", "b.py"], "2 --base-script"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_starts(
    fake: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert_refused(capsys, ["gate", *arguments], words, status=3)
    assert nothing_is_left(fake)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("script = 3", "script is 3 in tool.mfubench.gate"),
        ("script = ['']", "write a text or a list of texts"),
        ("scripts = 'train.py'", "has 'scripts'; allowed: "),
    ],
)
def test_a_table_that_names_no_script_is_one_sentence(
    fake: Path, capsys: pytest.CaptureFixture[str], table: str, words: str
) -> None:
    (fake / "pyproject.toml").write_text(f"[tool.mfubench.gate]\n{table}\n")
    assert_refused(capsys, ["gate"], words, status=3)


def test_a_script_that_only_one_side_has(fake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (fake / "new.py").write_text("import torch\n")
    (fake / "kept.bin").write_text("import torch\n")
    new = ["gate", "--base", "main", "--script", "new.py"]
    assert main(new) == 3
    assert "there is no script 'new.py' in main" in capsys.readouterr().err
    assert main([*new[:-1], "kept.bin"]) == 3
    assert "git ignores it" in capsys.readouterr().err
    assert nothing_is_left(fake)


def test_a_shallow_clone_says_how_to_deepen_it(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    git(fake, "checkout", "-q", "nothing")
    git(tmp_path, "clone", "-q", "--depth", "1", fake.as_uri(), "shallow")
    monkeypatch.chdir(tmp_path / "shallow")
    assert_refused(capsys, ["gate"], "git fetch --unshallow", status=3)


def test_a_python_without_torch_is_told(
    fake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    python = str(tmp_path / "bare/bin/python")
    assert_refused(
        capsys, ["gate", "--script", "train.py", "--python", python], "has no torch", status=3
    )
    assert nothing_is_left(fake)


def test_a_submodule_is_filled_from_the_users_own_checkout(
    fake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q", "-b", "main")
    (other / "train.py").write_text("import torch\n")
    git(other, "add", "-A")
    git(other, "commit", "-q", "-m", "one")
    git(fake, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "sub")
    git(fake, "commit", "-q", "-a", "-m", "with a submodule")
    assert main(["gate", "--base", "HEAD", "--script", "sub/train.py"]) == 0
    assert git(fake, "status", "--short") == ""
    git(fake, "submodule", "--quiet", "deinit", "-f", "sub")
    words = "the submodule sub is not checked out; type git submodule update --init"
    capsys.readouterr()
    assert_refused(capsys, ["gate", "--base", "HEAD", "--script", "train.py"], words, status=3)
    assert nothing_is_left(fake)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("fails.py", "neither side runs any of the cases: the script failed: ValueError"),
        ("dies.py", "the process ended (status 7): out of disk"),
        ("train.py --ends_after=9", "it ended after 9 steps"),
    ],
)
def test_a_script_that_neither_side_can_train_with_is_no_gate(
    fake: Path, capsys: pytest.CaptureFixture[str], script: str, words: str
) -> None:
    for name in ("fails.py", "dies.py"):
        (fake / name).write_text("import torch\n")
    git(fake, "add", "-A")
    git(fake, "commit", "-q", "-m", "scripts that do not train")
    assert main(["gate", "--base", "HEAD", "--script", script]) == 3
    assert words in capsys.readouterr().err
    assert nothing_is_left(fake)


def test_an_interrupt_leaves_nothing(
    fake: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench_module.ScriptBench, "_turns", interrupt)
    assert main(["gate", "--base", "HEAD", "--script", "train.py"]) == 3
    assert "interrupted" in capsys.readouterr().err
    assert nothing_is_left(fake)


# --- the script itself, without a clock ----------------------------------------------------------


def test_every_branch_is_one_change_of_a_script_that_runs() -> None:
    assert set(BRANCHES) == {"time", "memory", "compile-lost", "loss", "crash", "nothing"}
