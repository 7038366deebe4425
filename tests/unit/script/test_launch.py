"""A script is started, ends and fails as under `python`; what cannot be started is one sentence.

The scripts here import no torch, so that each takes a moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mfubench.cli import main

SHOWS = """
import sys, os
print(sys.argv, sys.path[0], __name__, os.getcwd())
print(__file__, __package__, __spec__ and __spec__.name)
print(sys.modules["__main__"].__dict__ is globals())
import helper
print(helper.__file__, "torch" in sys.modules, "multiprocessing" in sys.modules)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "helper.py").write_text("")
    (tmp_path / "helper.py").write_text("")
    for name in ("sub/shows.py", "shows.py"):
        (tmp_path / name).write_text(SHOWS)
    return tmp_path


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=300
    )


def watched(*arguments: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "mfubench", "run", "--no-ceilings", *arguments)


@pytest.mark.parametrize(
    "typed",
    [
        ["sub/shows.py", "--lr", "3", "--help", "--steps=4"],
        ["-m", "shows", "-x", "--", "--json"],
        ["sub/../sub/shows.py"],
    ],
)
def test_a_script_sees_what_python_shows_it(folder: Path, typed: list[str]) -> None:
    bare, ours = python(*typed), watched(*typed)
    assert ours.stdout == bare.stdout
    assert ours.stdout.count("\n") == 4
    assert ours.returncode == bare.returncode == 0


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("raise SystemExit(7)", 7),
        ("raise SystemExit('no data')", 1),
        ("x = 1 +", 1),
        ("import there_is_no_such_module", 1),
        ("def f():\n    raise ValueError('é')\nf()", 1),
        ("import atexit; atexit.register(print, 'left'); print('done')", 0),
    ],
)
def test_a_script_ends_as_under_python(folder: Path, code: str, status: int) -> None:
    Path("train.py").write_text(code, encoding="utf-8")
    bare, ours = python("train.py"), watched("train.py")
    assert ours.returncode == bare.returncode == status
    assert ours.stdout == bare.stdout
    ending = "mfubench run: nothing was measured: train.py does not use torch\n"
    assert ours.stderr.count(ending) == 1
    # What Python writes, traceback included, with our one sentence and no frame of ours.
    assert ours.stderr.replace(ending, "") == bare.stderr


def test_a_module_that_is_not_there_is_said_as_python_says_it(folder: Path) -> None:
    bare, ours = python("-m", "nowhere"), watched("-m", "nowhere")
    assert ours.returncode == bare.returncode == 1
    assert bare.stderr in ours.stderr


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_an_interrupt_ends_a_script_as_it_ends_python(folder: Path) -> None:
    Path("waits.py").write_text(
        "import time\nprint('ready', flush=True)\n"
        "try:\n    time.sleep(60)\nfinally:\n    print('tidy')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "mfubench", "run", "--no-ceilings", "waits.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert out == "tidy\n"
    assert "KeyboardInterrupt" in err


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["run", "nowhere.py"], "there is no script 'nowhere.py'"),
        (["run", "sub"], "is a folder without a __main__.py"),
        (["run", "data.bin"], "data.bin is no Python script"),
        (["run"], "name the script to run"),
        (["run", "--results-dir", "shows.py/here", "shows.py"], "The script was not started"),
    ],
)
def test_what_cannot_be_started_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], typed: list[str], words: str
) -> None:
    Path("data.bin").write_bytes(b"\0\1\2")
    assert main(typed) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize("count", ["0", "-3", "many"])
def test_a_number_of_steps_that_cannot_be_is_refused(
    capsys: pytest.CaptureFixture[str], count: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", f"--steps={count}", "train.py"])
    assert ended.value.code == 2
    assert "is no count; give a whole number from 1 on" in capsys.readouterr().err
