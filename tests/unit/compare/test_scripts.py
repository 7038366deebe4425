"""Real training scripts as sides, and the command as it is typed. No time is asserted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mfubench.cli import main
from mfubench.compare import comparison
from mfubench.compare.comparison import Comparing
from mfubench.compare.document import Comparison
from mfubench.compare.losses import of_reference, of_side
from mfubench.compare.sides import make_sides
from mfubench.hardware.affinity import usable_cpus
from mfubench.knobs.script import Turned, command_line
from mfubench.pairs.journal import PairJournal
from mfubench.report.bodies import BODIES
from mfubench.report.build import build_report
from mfubench.results.collect import collect
from mfubench.results.schema import problems
from mfubench.script.adjust import Adjustments
from mfubench.sides.bench import ScriptBench
from mfubench.sides.pair import ScriptPair
from mfubench.sides.spec import SideSpec
from tests.one_sentence import assert_refused
from tests.unit.compare.test_pairs import Still, no_process_is_left

SCRIPT = Path(__file__).parent / "scripts" / "trains.py"
pytestmark = pytest.mark.usefixtures("few_turns")
WAYS = ("plain", "accumulates", "workers", "critic", "scaler", "closure", "evaluates", "prints")
"""In which a script trains, and is held at the right place."""


def bench(folder: Path, *arguments: str) -> ScriptBench:
    sides = [
        SideSpec(
            label=text,
            words=(str(SCRIPT), *text.split()),
            cwd=folder,
            environment={"OMP_NUM_THREADS": "1"},
        )
        for text in arguments
    ]
    return ScriptBench(sides=sides, folder=folder, control=Still(), settle_s=0.0)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, few_turns: None) -> ScriptPair:
    """One pair of every way."""
    made = bench(tmp_path_factory.mktemp("ways"), *WAYS, "asks", "fails", "saves", "saves")
    return made.pair(range(len(made.sides)), 1, 600.0)


def test_every_way_to_train_takes_its_turns(pair: ScriptPair) -> None:
    whole = [WAYS[int(number)] for number in sorted(pair.sides, key=int) if int(number) < len(WAYS)]
    assert whole == list(WAYS)
    counts = {len(side.steps_s) for side in pair.sides.values()}
    assert len(counts) == 1
    assert no_process_is_left()


@pytest.mark.parametrize("way", WAYS)
def test_losses_are_one_per_step_and_not_scaled(pair: ScriptPair, way: str) -> None:
    side, plain = pair.sides[str(WAYS.index(way))], pair.sides["0"]
    assert len(side.losses) == len(plain.losses)
    assert side.losses[0] == plain.losses[0]
    if way != "accumulates":  # the same mathematics
        assert side.losses == plain.losses


@pytest.mark.parametrize(("way", "tokens"), [("plain", 48), ("accumulates", 96), ("critic", 48)])
def test_tokens_of_a_step_come_from_the_embedding(pair: ScriptPair, way: str, tokens: int) -> None:
    assert pair.sides[str(WAYS.index(way))].tokens_per_step == tokens


def test_workers_of_a_loader_are_known(pair: ScriptPair) -> None:
    assert pair.sides[str(WAYS.index("workers"))].workers == 2
    assert pair.sides["0"].workers == 0


def test_a_side_that_asks_or_fails_is_named_with_its_words(pair: ScriptPair) -> None:
    asks, fails = str(len(WAYS)), str(len(WAYS) + 1)
    assert "a side has no standard input" in pair.errors[asks]
    assert pair.errors[fails].startswith("the script failed: ValueError: planted")


def test_two_sides_that_write_to_one_file_are_told(pair: ScriptPair) -> None:
    assert pair.shared_writes == ["log.txt"]
    assert any(name.startswith("ckpt-") for name in pair.sides[str(len(WAYS) + 2)].writes)


def test_a_thousandth_of_a_learning_rate_is_a_difference_and_the_same_code_is_none(
    tmp_path: Path,
) -> None:
    made = bench(tmp_path, "plain", "plain lr=0.05", "plain lr=0.05005", "unseeded")
    pairs = [made.pair(range(4), number, 600.0) for number in (1, 2)]
    runs = [[one.sides[str(n)].losses for one in pairs] for n in range(4)]
    software = pairs[0].sides["0"].software
    assert of_reference(runs[0]).verdict == "same"
    assert of_side(runs[1], runs[0], software, software).verdict == "same"
    assert of_side(runs[2], runs[0], software, software).verdict == "different"
    assert of_side(runs[3], runs[0], software, software).verdict == "not deterministic"


def test_an_interrupt_ends_both_sides(tmp_path: Path) -> None:
    made = bench(tmp_path, "plain", "plain")

    def interrupt() -> float:
        raise KeyboardInterrupt

    made.control.seconds = interrupt  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        Comparing(made, PairJournal(None), 0.01, 600.0).run()
    assert no_process_is_left()


# --- as it is typed ------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the script in it."""
    shutil.copy(SCRIPT, tmp_path / "trains.py")
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "one"]):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def test_a_revision_beside_another_saved_and_shown(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = folder / "trains.py"
    script.write_text(script.read_text().replace('"lr", 0.05', '"lr", 0.06'))
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@e.org", "commit", "-qam", "two"],
        check=True,
    )
    arguments = ["--rev", "HEAD~1", "--rev", "HEAD", "trains.py plain", "--budget", "1s"]
    assert_refused(capsys, ["compare", *arguments], "the budget of time is too short", status=3)
    monkeypatch.setattr(comparison, "LOOKS", (1,))  # one pair, however long it takes
    arguments[-1] = "5m"
    status = main(["compare", "--json", *arguments])
    data = json.loads(capsys.readouterr().out)
    assert status in (0, 2)
    assert [side["label"].split(" (")[0] for side in data["sides"]] == ["HEAD~1", "HEAD"]
    assert data["sides"][1]["loss_verdict"] == "different"
    assert data["sides"][1]["ratio"] > 0
    assert "measured" not in data
    worktrees = subprocess.run(["git", "worktree", "list"], capture_output=True, check=True)
    assert len(worktrees.stdout.splitlines()) == 1
    (saved,) = folder.glob("results/*/comparison/0001_*.json")
    assert problems(json.loads(saved.read_text()), BODIES) == []
    assert str(folder) not in saved.read_text()
    (section,) = [s for s in build_report(collect([saved], BODIES)).sections if s.key == "compare"]
    assert section.blocks


def test_variables_may_come_before_a_command_as_in_a_shell() -> None:
    typed = ["a.py --x", f"A=1 B='c d' {sys.executable} a.py --x"]
    plain, with_some = make_sides(typed, environments=["A=2"])
    assert (plain.words, with_some.words) == (("a.py", "--x"),) * 2
    assert plain.environment == {"A": "2"}
    assert with_some.environment == {"A": "2", "B": "c d"}, "what is given once holds for all"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux has taskset")
def test_a_command_may_be_bound_to_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    first = usable_cpus()[0]
    bound = f"taskset -c {first} python a.py"
    sides = make_sides(["a.py", bound, f"OMP_NUM_THREADS=2 {bound}"], pythons=[sys.executable])
    assert [side.words for side in sides] == [("a.py",)] * 3
    assert [side.adjust for side in sides] == [{}, {"cpus": [first]}, {"cpus": [first]}]
    (_, given) = make_sides(["a.py", bound], environments=["OMP_NUM_THREADS=2"])
    assert given.adjust == {"cpus": [first]}, "the number of threads is that of --env"
    assert given.environment == {"OMP_NUM_THREADS": "2"}
    assert len({side.digest() for side in sides}) == 3, "their kept pairs are not mixed up"
    assert command_line(sides[1], Turned()) == bound, "it is printed as it was typed"


@pytest.mark.parametrize(
    ("wanted", "variable", "told"),
    [
        ({}, None, []),
        ({"cpus": [0, 2, 4]}, None, [3]),
        ({"cpus": [0, 2, 4]}, "2", []),  # torch has read it
        ({"cpus": [0, 2, 4], "threads": 1}, "2", [1]),
    ],
)
def test_what_is_bound_has_a_thread_for_each_processor(
    monkeypatch: pytest.MonkeyPatch, wanted: dict[str, Any], variable: str | None, told: list[int]
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    seen: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", seen.append)
    Adjustments(wanted).torch_is_here()
    assert seen == told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["A=1", "trains.py"], "'A=1' names no script"),
        (["trains.py plain"], "there is one side only"),
        (["nothere.py", "trains.py"], "there is no script 'nothere.py'"),
        (["--rev", "v9", "--rev", "HEAD", "trains.py"], "there is no revision 'v9'"),
        (["--python", "nopython", "--python", sys.executable, "trains.py"], "there is no Python"),
        (["--env", "A", "--env", "A=1", "trains.py"], "sets no variable"),
        (["--env", "A=1", "--env", "A=2", "--env", "A=3", "a.py", "b.py"], "3 sides, but 2"),
        (["torchrun trains.py", "trains.py"], "torchrun starts several processes"),
        (["trains.py", "trains.py", "--link", "data"], "--link is for the worktrees of --rev"),
        (["trains.py 'x", "trains.py"], "is no command"),
        (["taskset 3 trains.py", "trains.py"], "only a list of processors is understood"),
        (["taskset -c x trains.py", "trains.py"], "'x' is no list of processors"),
        (["taskset -c 99999 trains.py", "trains.py"], "processor 99999 cannot be used here"),
        (["trains.py", "trains.py", "--tokens-per-step", "0"], "give 1 or more"),
    ],
)
def test_bad_input_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert_refused(capsys, ["compare", *arguments], words, status=3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trains.py", "trains.py", "--lr=1"], "there is no option --lr=1"),
        (["trains.py", "trains.py", "--precision", "99"], "'99' is no precision"),
        ([], "COMMAND"),
    ],
)
def test_what_argparse_refuses_has_status_3_and_says_how_to_type_it(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["compare", *arguments])
    assert end.value.code == 3
    said = capsys.readouterr().err
    assert words in said
    assert "in quotes" in said


def test_outside_a_repository_revisions_cannot_be_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["compare", "--rev", "a", "--rev", "b", "train.py"]
    assert_refused(capsys, arguments, "is in no git repository", status=3)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert_refused(capsys, arguments, "git is not installed", status=3)


def test_two_sides_without_torch_or_steps_are_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "hello.py").write_text("print('hello')\n")
    words = "the script ended and never imported torch"
    assert main(["compare", "hello.py", "trains.py plain"]) == 3
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_a_comparison_has_its_type() -> None:
    assert BODIES["comparison"] is Comparison
