"""Sides that are a few lines of Python, run as real processes: what they say, and how they end."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from mfubench.pairs import side as side_module
from mfubench.pairs.child import ADDRESS, Parent
from mfubench.pairs.loop_side import PROGRAM, LoopSide
from mfubench.pairs.side import Side, SideError
from mfubench.results.outcomes import Outcome

Start = Callable[..., Side]
SERVES = "from mfubench.pairs.child import Parent\nparent = Parent()\n"
ECHOES = SERVES + "parent.serve(lambda request: request)\n"
HANGS = SERVES + "import time\nparent.next_request()\ntime.sleep(600)\n"


@pytest.fixture
def start() -> Iterator[Start]:
    """A side that runs some code; whatever happens, it is closed and no process of it is left."""
    sides: list[Side] = []

    def run(code: str, **settings: object) -> Side:
        command = [sys.executable, "-c", textwrap.dedent(code)]
        sides.append(Side(command, name="candidate", **settings))  # type: ignore[arg-type]
        return sides[-1]

    yield run
    for side in sides:
        side.close()
        assert side.has_ended


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ends(pid: int) -> bool:
    """Whether a process ends by itself; it has a minute on a busy machine."""
    deadline_s = time.monotonic() + 60
    while is_running(pid) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    return not is_running(pid)


def test_requests_are_answered_one_after_the_other_and_the_first_is_told_at_once(
    start: Start,
) -> None:
    side = start(ECHOES, first={"turn": 0})
    assert side.hear() == {"turn": 0}
    assert [side.turn(3, control=True), side.ask({"x": "é"})] == [
        {"turn": 3, "control": True},
        {"x": "é"},
    ]
    side.close()
    assert side._process.returncode == 0


def test_what_it_prints_is_no_part_of_the_conversation(start: Start) -> None:
    side = start(
        SERVES + "import sys\n"
        "def answer(request):\n"
        "    print('{\"turn\": 7}')\n"
        "    print('\\x00\\xff' * 100_000, file=sys.stderr)\n"
        "    return request\n"
        "parent.serve(answer)\n"
    )
    assert [side.ask({"turn": number}) for number in range(3)] == [{"turn": n} for n in range(3)]


def test_a_training_script_is_held_at_a_step_and_tells_how_long_its_steps_took(
    start: Start,
) -> None:
    side = start(
        SERVES
        + """
        import sys, time
        left = taken = 0
        for step in range(1000):  # the script's own loop; before each step the hook:
            if left == 0:
                if taken:
                    parent.reply({"step_s": (time.perf_counter() - start_s) / taken, "at": step})
                request = parent.next_request()
                if request is None:
                    break
                left = taken = request["turn"]
                start_s = time.perf_counter()
            left -= 1
        assert "torch" not in sys.modules
        """.replace("\n        ", "\n")
    )
    turns = [side.turn(5), side.turn(2)]
    assert [turn["at"] for turn in turns] == [5, 7]
    assert all(turn["step_s"] > 0 for turn in turns)
    side.close()
    assert side._process.returncode == 0


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise SystemExit('no such thing')", r"the process ended \(status 1\): no such thing"),
        ("print('only this')\nraise SystemExit(3)", r"ended \(status 3\): only this"),
        ("import os\nos._exit(4)", r"ended \(status 4\): it said nothing"),
        ("import no_such_module", "No module named 'no_such_module'"),
    ],
)
def test_one_that_dies_before_it_connects_is_one_sentence(
    start: Start, code: str, words: str
) -> None:
    side = start(code, first={"turn": 1})
    with pytest.raises(SideError, match=words) as failed:
        side.ask({"turn": 2})
    assert failed.value.side == "candidate"
    assert failed.value.outcome is Outcome.ERROR


def test_one_that_dies_in_a_turn_says_its_last_words(start: Start) -> None:
    side = start(
        SERVES + "import os, sys\n"
        "parent.next_request()\n"
        "print('all is well', flush=True)\n"
        "print('Killed', file=sys.stderr, flush=True)\n"
        "os.abort()\n"
    )
    with pytest.raises(SideError, match=r"the process ended \(status -6\): Killed"):
        side.turn(1)
    with pytest.raises(SideError, match="the process ended"):  # and says so again
        side.turn(1)


def test_one_that_hangs_is_ended(start: Start) -> None:
    side = start(HANGS)
    with pytest.raises(SideError, match=r"the process gave no answer in 0\.2 s: it said nothing"):
        side.ask({"turn": 1}, timeout_s=0.2)
    assert side.has_ended


def test_one_that_never_connects_is_ended(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_module, "START_TIMEOUT_S", 0.2)
    side = start("import time\nprint('waiting for a GPU', flush=True)\ntime.sleep(600)")
    with pytest.raises(SideError, match=r"gave no answer in 0\.2 s"):
        side.ask({"turn": 1}, timeout_s=0.2)
    assert side.has_ended


def test_one_that_raises_says_what_and_goes_on(start: Start) -> None:
    side = start(
        SERVES + "def answer(request):\n"
        "    return {'x': 1 / request['turn']}\n"
        "parent.serve(answer, lambda error: ('out_of_memory', f'no room: {error}'))\n"
    )
    with pytest.raises(SideError, match="no room: division by zero") as failed:
        side.turn(0)
    assert failed.value.outcome is Outcome.OUT_OF_MEMORY
    assert failed.value.words == "out_of_memory: no room: division by zero"
    assert side.turn(2) == {"x": 0.5}


def test_what_it_has_started_ends_with_it(start: Start) -> None:
    code = (
        SERVES + "import os, subprocess, sys\n"
        "sleeps = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "child = subprocess.Popen(sleeps)\n"
        "parent.next_request()\n"
        "parent.reply({'pid': child.pid})\n"
        "if parent.next_request() is not None:\n"
        "    os._exit(1)\n"
    )
    gently, in_a_turn = start(code), start(code)
    pids = [side.ask({})["pid"] for side in (gently, in_a_turn)]
    with pytest.raises(SideError, match="the process ended"):
        in_a_turn.turn(1)
    for side in (gently, in_a_turn):
        side.close()
    assert all(ends(pid) for pid in pids)


@pytest.mark.parametrize("code", [ECHOES, HANGS], ids=["idle", "in a turn"])
def test_it_ends_when_its_parent_is_killed(code: str) -> None:
    parent = f"""
import sys, time
from mfubench.pairs.side import Side
side = Side([sys.executable, "-c", {code!r}], first={{"turn": 1}})
side.has_answered(1.0)
print(side._process.pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert is_running(pid)
        process.kill()
    assert ends(pid)


def test_a_program_that_nobody_started_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ADDRESS, raising=False)
    with pytest.raises(RuntimeError, match="is started by mfubench, not by hand"):
        Parent()


def test_a_long_name_of_the_temporary_folder_is_no_hindrance(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr("multiprocessing.util.get_temp_dir", lambda: str(long))
    assert start(ECHOES).ask({"turn": 1}) == {"turn": 1}


@pytest.mark.parametrize("name", ["model", "config", "timing", "mfubench", "json", "torch"])
def test_modules_of_the_users_folder_are_not_taken(start: Start, tmp_path: Path, name: str) -> None:
    # Each one alone, so that none hides what another would do.
    (tmp_path / f"{name}.py").write_text("raise SystemExit('the user\\'s')\n", encoding="utf-8")
    side = Side([sys.executable, *PROGRAM], cwd=tmp_path)
    with side, pytest.raises(SideError, match="no loop is built yet"):
        side.ask({"run": 1})


def test_a_loop_is_built_beside_a_users_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mfubench.measure.loop_config import LoopConfig

    for name in ("model", "config", "timing", "torch", "mfubench_model", "train"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit\n", encoding="utf-8")
    (tmp_path / "mfubench").mkdir()
    (tmp_path / "mfubench/__init__.py").write_text("raise SystemExit\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    config = LoopConfig(threads=1, batch_size=1)
    with LoopSide(config, cache=tmp_path / "cache").wait() as side:
        assert side.tokens_per_step == 64
        assert len(side.run(2)) == 2
