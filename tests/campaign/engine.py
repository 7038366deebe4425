"""One trial: command lines in a process of their own, and what must not come of them.

The campaign's process has loaded everything once. Each trial is a fork of it, in a folder and a
temporary folder of its own, so that a trial takes a few hundredths of a second and what it leaves
behind can be seen.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import io
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from mfubench.streams import UNSEEN

EITHER = frozenset({"ok", "refused"})
"""An answer, or one sentence."""
TIMEOUT_S = 40.0
GRACE_S = 6.0
"""In which sides whose parent is gone end themselves."""
ROOT = Path(__file__).resolve().parents[2]
UNCLEAR = re.compile(
    r"Errno|NoneType|object at 0x|invalid literal|not subscriptable|unsupported operand"
    r"|has no attribute|codec can't|<class|must be str\b|not supported between|could not convert"
    r"|Expecting value|argument of type"
)
"""Words of Python's own that say nothing to a user."""
LONGEST_SENTENCE = 900

Prepare = Callable[[Path], object]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is tried, and what may come of it."""

    name: str
    area: str
    commands: Sequence[Sequence[str]]
    """Command lines of mfubench, one after the other."""
    expect: frozenset[str] = EITHER
    prepare: Prepare | None = None
    """Makes the files of the trial, in its folder."""
    stdin: bytes = b""
    environment: dict[str, str] = field(default_factory=dict)
    encoding: str = "utf-8"
    before: Callable[[], object] | None = None
    """Runs in the trial's process: limits, stand-ins for what would measure."""
    main: Callable[[Sequence[str]], int] | None = None
    """Instead of mfubench's own."""
    timeout_s: float = TIMEOUT_S
    check: Callable[[Path, list[Said]], Sequence[str]] | None = None
    """Further promises; gives what was broken."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What came of one command line."""

    status: int
    out: str
    err: str

    @property
    def outcome(self) -> str:
        """ok, refused (in one line, with a status that is not zero), failed, or killed."""
        if self.status < 0:
            return "killed"
        if self.status == 0:
            return "ok"
        lines = self.err.strip().splitlines()
        is_one = len(lines) == 1 and lines[0].startswith(("mfubench", "ERROR"))
        return "refused" if is_one else "failed"


def run(trial: Trial) -> dict[str, object]:
    """A row of the ledger."""
    home = Path(tempfile.mkdtemp(prefix="campaign-"))
    folder, temporary = home / "w", home / "t"
    folder.mkdir()
    temporary.mkdir()
    start_s = time.perf_counter()
    try:
        if trial.prepare is not None:
            trial.prepare(folder)
        timed_out = _fork(trial, home)
        said = _said(trial, home)
        broken = _broken(trial, said, timed_out)
        if timed_out:
            broken.append(f"hang at {_innermost(home / 'stack')}")
        broken += [f"left behind: {path}" for path in left_behind(folder, temporary)]
        broken += _processes_left()
        if trial.check is not None and not timed_out:
            broken += trial.check(folder, said)
    finally:
        for fifo in home.rglob("*"):  # an open end would keep nobody waiting
            with contextlib.suppress(OSError):
                fifo.chmod(0o700)
        shutil.rmtree(home, ignore_errors=True)
    row: dict[str, object] = {
        "area": trial.area,
        "trial": trial.name,
        "outcome": "+".join(dict.fromkeys(one.outcome for one in said)),
        "broken": broken,
        "s": round(time.perf_counter() - start_s, 2),
    }
    unclear = [u for one in said if not _is_of_others(trial) and (u := _unclear(one))]
    if unclear:
        row["unclear"] = unclear[0]
    return row


def _innermost(stack: Path) -> str:
    """The frames of a trial that hung, innermost first, of its main thread."""
    text = stack.read_text(encoding="utf-8", errors="replace")
    main = text.rpartition("Current thread")[2] if "Current thread" in text else text
    frames = re.findall(r'File "([^"]*)", line (\d+) in (\w+)', main)
    return " < ".join(f"{Path(f).name}:{n} {name}" for f, n, name in frames[:8])


def _fork(trial: Trial, home: Path) -> bool:
    """Run the command lines in a child; whether it had to be ended."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        status = 70
        try:
            status = _inside(trial, home)
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(BaseException):
                atexit._run_exitfuncs()
            os._exit(status)
    end_s = time.monotonic() + trial.timeout_s
    while time.monotonic() < end_s:
        done, _ = os.waitpid(child, os.WNOHANG)
        if done:
            return False
        time.sleep(0.005)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGUSR1)  # it writes down where it is
        time.sleep(0.3)
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def _inside(trial: Trial, home: Path) -> int:
    os.setsid()
    stack = (home / "stack").open("w")
    faulthandler.register(signal.SIGUSR1, file=stack, all_threads=True)
    os.chdir(home / "w")
    os.environ.update(trial.environment)
    os.environ.pop("PYTEST_CURRENT_TEST", None)
    os.environ["TMPDIR"] = str(home / "t")
    os.environ["COLUMNS"] = "100"
    tempfile.tempdir = None
    (home / "stdin").write_bytes(trial.stdin)
    os.dup2(os.open(home / "stdin", os.O_RDONLY), 0)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, "rb", closefd=False), encoding="utf-8")
    from mfubench.cli import main

    for number, words in enumerate(trial.commands):
        before = trial.before if number == 0 else None
        _point_at(home, number, trial.encoding, before)
        status = 1
        try:
            status = (trial.main or main)(list(words))
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:
            traceback.print_exc()
        with contextlib.suppress(Exception):
            sys.stderr.flush()
            sys.stdout.flush()
        (home / f"status{number}").write_text(str(int(status)))
    return 0


def _point_at(home: Path, number: int, encoding: str, before: Callable[[], object] | None) -> None:
    for descriptor, name in ((1, "out"), (2, "err")):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(home / f"{name}{number}", flags), descriptor)
    if before is not None:
        before()
    errors = "strict" if encoding != "utf-8" else "surrogateescape"
    try:
        out = io.BufferedWriter(io.FileIO(1, "wb", closefd=False))
        sys.stdout = io.TextIOWrapper(out, encoding=encoding, errors=errors)
    except OSError:  # closed
        sys.stdout = None  # type: ignore[assignment]
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(2, "wb", closefd=False)),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=True,
    )


def _said(trial: Trial, home: Path) -> list[Said]:
    found = []
    for number in range(len(trial.commands)):
        texts = []
        for name in ("out", "err"):
            path = home / f"{name}{number}"
            data = path.read_bytes()[: 2**22] if path.exists() else b""
            texts.append(data.decode(trial.encoding, "surrogateescape"))
        status = home / f"status{number}"
        word = status.read_text() if status.exists() else ""
        value = int(word) if word else -1  # killed, before or while it was written
        found.append(Said(status=value, out=texts[0], err=texts[1]))
    return found


def _broken(trial: Trial, said: list[Said], timed_out: bool) -> list[str]:
    broken = []
    for words, one in zip(trial.commands, said, strict=True):
        name = words[0] if words else ""
        text = one.out + one.err
        if _is_a_traceback(text, is_a_script=_is_of_others(trial)):
            broken.append(f"{name}: traceback: {text.strip().splitlines()[-1][:200]}")
        if "script" not in trial.area and (found := UNSEEN.search(text)):
            broken.append(f"{name}: raw {found.group()!a}")
        if not timed_out and one.outcome not in trial.expect:
            why = (one.err or one.out).strip()[-200:]
            broken.append(f"{name}: {one.outcome} with {one.status}: {why}")
    return broken


def _is_of_others(trial: Trial) -> bool:
    """Whether a traceback may be a script's own, or pytest's that has lost its folder."""
    others = ("script", "everything removed", "run: ")
    return any(words in f"{trial.area} {trial.name}" for words in others)


def _is_a_traceback(text: str, *, is_a_script: bool) -> bool:
    """A script's own traceback is its own; ours is none of its business."""
    if is_a_script:
        return "/mfubench/" in text and "Traceback (most recent" in text
    return "Traceback (most recent call last)" in text or "INTERNALERROR" in text


def _unclear(said: Said) -> str | None:
    """A sentence that would leave a user puzzled."""
    if said.outcome == "ok":
        return None
    text = said.err.strip()
    if not text:
        return None if said.out.strip() else "no word"
    if found := UNCLEAR.search(text):
        return f"{found.group()}: {text[:200]}"
    return f"long: {text[:100]}" if len(text) > LONGEST_SENTENCE else None


def left_behind(folder: Path, temporary: Path) -> list[str]:
    """Temporary files and halves of files."""
    found = [path.name for path in temporary.iterdir() if not _is_kept(path)]
    return found + [path.name for path in folder.rglob("*.partial")]


def _is_kept(path: Path) -> bool:
    """What stays on purpose: the lock of the machine, results that found no other place, what
    torch keeps for itself."""
    return path.name.startswith(("mfubench-timing", "mfubench-results-", "torchinductor_"))


def _processes_left() -> list[str]:
    """Processes of the trial that still run; they come to us, see `adopt_orphans`."""
    end_s = time.monotonic() + GRACE_S
    left: list[psutil.Process] = []
    while True:
        left = psutil.Process().children(recursive=True)
        for process in left:
            with contextlib.suppress(psutil.Error, ChildProcessError):
                if process.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(process.pid, os.WNOHANG)
        left = [p for p in left if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
        if not left or time.monotonic() > end_s:
            break
        time.sleep(0.05)
    names = []
    for process in left:
        with contextlib.suppress(psutil.Error):
            names.append(f"process left: {' '.join(process.cmdline())[:120]}")
            process.kill()
    return names


def adopt_orphans() -> None:
    """Orphans of this process's descendants become its children (Linux)."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
