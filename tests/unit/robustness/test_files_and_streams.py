"""No input hangs, no output is replaced by mistake, and nothing printed can drive a terminal."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mfubench import interrupts, streams
from mfubench.cli import main
from mfubench.files import open_input, output_problem, read_input, write_output
from mfubench.pairs import machine_lock
from tests.one_sentence import assert_refused

ROOT = Path(__file__).resolve().parents[3]
RUN = next((ROOT / "results").glob("*/Linux*/0001_*.json"))
Capture = pytest.CaptureFixture[str]
posix = pytest.mark.skipif(os.name != "posix", reason="pipes with a name and devices are POSIX's")


@posix
@pytest.mark.parametrize("command", ["show", "validate", "explain", "trace", "report"])
def test_a_pipe_that_nobody_writes_is_refused(
    command: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    assert main([command, "fifo"]) != 0
    assert "nobody writes into it" in capsys.readouterr().err


@posix
def test_a_pipe_with_a_writer_is_read(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    keeper = os.open(path, os.O_RDWR)  # so that the writer is there before the reader
    writer = threading.Thread(target=path.write_bytes, args=(b"x" * 200_000,))
    writer.start()
    with open_input(path) as file:
        found = file.read(200_000)
    writer.join()
    os.close(keeper)
    assert found == b"x" * 200_000


@posix
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
@pytest.mark.parametrize("command", ["show", "validate", "explain", "trace"])
def test_a_device_is_no_file(
    command: str, device: str, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([command, device]) != 0
    assert "it is a device and no file" in capsys.readouterr().err


def test_no_more_is_read_than_allowed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(11))
    assert read_input(path, 11) == bytes(11)
    with pytest.raises(OSError, match="more than") as caught:
        read_input(path, 10)
    assert caught.value.errno == errno.EFBIG


@posix
def test_a_device_stays_a_device(tmp_path: Path, capsys: Capture) -> None:
    assert main(["report", str(RUN), "-o", "/dev/null"]) == 0
    assert Path("/dev/null").is_char_device()
    capsys.readouterr()
    assert_refused(
        capsys, ["report", str(RUN), "-o", "/dev/full"], "No space left on device", status=2
    )
    assert Path("/dev/full").is_char_device()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert_refused(capsys, ["report", str(RUN), "-o", str(fifo)], "nobody reads from it", status=2)
    assert fifo.is_fifo()


@posix
def test_a_link_is_followed_and_a_file_keeps_its_rights(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o604)
    link.symlink_to(target)
    write_output(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o604
    (tmp_path / "dangling").symlink_to(tmp_path / "later")
    write_output(tmp_path / "dangling", b"there")
    assert (tmp_path / "later").read_bytes() == b"there"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dangling", "later", "link", "target"]


def test_what_cannot_be_written_is_said_before(tmp_path: Path) -> None:
    assert output_problem(tmp_path) == "it is a folder"
    assert "there is no folder" in str(output_problem(tmp_path / "no" / "x"))
    assert output_problem(tmp_path / "x") is None


@pytest.mark.parametrize("option", ["-o", "--csv", "--parquet"])
@pytest.mark.parametrize("name", ["", ".", "..", "/"])
def test_a_folder_or_nothing_is_no_name_of_a_file(option: str, name: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["report", str(RUN), option, name])
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "name" in err


@pytest.mark.parametrize("name", ["~nosuchuser/x", "x" * 5000])
@pytest.mark.parametrize("words", [["show"], ["device", "--results-dir"], ["report", "-o"]])
def test_a_name_that_cannot_be_is_one_short_sentence(
    words: list[str], name: str, capsys: Capture
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*words, name])
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert len(err) < 400


@pytest.mark.parametrize(("command", "status"), [("flops", "2"), ("compare", "3")])
def test_a_long_value_is_quoted_in_short(command: str, status: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit, match=status):
        main([command, "--color", "x" * 5000])
    err = capsys.readouterr().err
    assert "(5,003 characters)" in err
    assert len(err) < 400


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-16"])
@pytest.mark.parametrize(
    "words", [["show", str(RUN)], ["flops", "--preset", "gpt2"], ["gate", "--help"]]
)
def test_any_encoding_takes_every_line(words: list[str], encoding: str) -> None:
    code = "import sys; from mfubench.__main__ import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode(encoding)


@posix
def test_no_name_drives_the_terminal(tmp_path: Path, capsys: Capture) -> None:
    for name in ("a\x1b[2Jb\x9b1m\u202e", os.fsdecode(b"\xff\xfe")):
        path = tmp_path / name
        path.write_bytes(b"{")
        for command in ("show", "validate", "report"):
            main([command, str(path)])
            said = capsys.readouterr()
            assert streams.UNSEEN.search(said.out + said.err) is None


def test_the_first_line_of_bench_drives_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(pytest, "main", lambda *_, **__: 0)
    assert main(["bench", "--results-dir=a\x1b[2J\udcff"]) == 0
    said = capsys.readouterr().out
    assert r"a\x1b[2J\udcff/" in said
    assert streams.UNSEEN.search(said) is None


def test_colours_of_ours_pass_and_no_other_sequence() -> None:
    text = "\x1b[1mbold\x1b[0m \x1b[2J \x1b[8mhidden \x1b]0;title\x07"
    shown = streams.escaped(text, keep_styles=True)
    assert shown == "\x1b[1mbold\x1b[0m \\x1b[2J \\x1b[8mhidden \\x1b]0;title\\x07"
    assert "\x1b" not in streams.escaped(text)


@posix
@pytest.mark.parametrize("words", [["flops", "--preset", "gpt2"], ["show", str(RUN)]])
def test_a_reader_that_is_gone_changes_no_status(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "mfubench", *words],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


@posix
def test_a_full_output_is_said() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mfubench", "flops", "--preset", "gpt2"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == "mfubench flops: not all could be printed: No space left on device\n"


@posix
def test_a_second_signal_does_not_cut_off_the_tidying() -> None:
    tidied = []

    def ends_twice() -> None:
        with interrupts.terminated_as_interrupted():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGHUP)
                tidied.append(True)

    with pytest.raises(KeyboardInterrupt):
        ends_twice()
    assert tidied == [True]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", 'environment={"A":1}'], "expected str, got int"),
        (["--set", 'environment={"A=B":"x"}'], "no variable can be 'A=B'"),
        (["--set", "batch_size=x"], "batch_size: expected int, got str"),
        (["--set-base", "batch_size=0"], "it must be 1 or more"),
        (["--set", "threads=2", "--under-test", "/etc"], "--under-test /etc: give a package"),
        (["--set", "threads=2", "--under-test", ".."], "--under-test ..: give a package"),
        (["--set", "threads=2", "--under-test", ","], "--under-test names nothing"),
        (["--set", "threads=2", "--under-test", "model/gpt"], "has no model/gpt"),
        (["--base-python", "model"], "--base-python model is no program"),
        (["--junit", "no/folder/x.xml"], "there is no folder"),
    ],
)
def test_a_gate_refuses_before_it_measures(
    words: list[str], said: str, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    # Another test's gate must not be in the way of this one.
    monkeypatch.setattr(machine_lock, "lock_path", lambda: tmp_path / "lock")
    line = ["gate", "--results-dir", str(tmp_path), *words]
    assert_refused(capsys, line, said, status=3)
