"""Bad inputs: every option of every command, read from the parsers, with values of its kind.

A new option is picked up by itself. A value of which is known that it must be refused says so; of
the others either is right, an answer or one sentence, and nothing else is.
"""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.campaign.engine import EITHER, ROOT, TIMEOUT_S, Trial
from tests.campaign.stand_ins import without_measuring

MEASURING_S = 240.0
"""`bench` really measures where nothing is wrong."""
REFUSED = frozenset({"refused"})
LONG = "x" * 5000
ESCAPES = "a\x1b[2J\x1b]0;title\x07\u202eb"
NOT_TEXT = os.fsdecode(b"\xff\xfe name")
RUN = next((ROOT / "results").glob("*/Linux*/0001_*.json"))

WHOLE = ("", "x", "-1", "0", "1.5", "1e9", "nan", "9" * 30, "1" + "0" * 400, LONG, "٣", ESCAPES)
NUMBERS = ("", "x", "-1", "nan", "inf", "1e999", "1e308", "0x10", LONG, ESCAPES)
WORDS = (
    "",
    "nonsense",
    "None",
    "--",
    "*",
    "../..",
    "%s%n{0}",
    "'; rm -rf /",
    LONG,
    ESCAPES,
    NOT_TEXT,
)
PLACES = (
    "", ".", "..", "/", "~nosuchuser", "~", "no/such/folder/x", "/etc/passwd/x", LONG, "a/" * 3000,
    "/dev/null", "/dev/full", "/dev/zero", "/proc/self/mem", "/proc/1/pagemap",
    "fifo", "socket", "folder", "loop", "dangling", "linked", "empty", "binary", "huge", "endless",
    "good.json", "cut.json", "deep.json", "utf16.json", "list.json", "nan.json", "zip", "pickle",
    ESCAPES, NOT_TEXT, "locked",
)  # fmt: skip

BASES: dict[str, Sequence[str]] = {
    # A device that is not here: every option is read, and nothing is measured.
    "bench": ("--devices", "mps", "--sweep", "smoke"),
    "compare": ("script.py", "script.py --again"),
    "run": ("script.py",),
    "flops": ("--preset", "gpt2"),
    "explain": ("log.txt",),
    "trace": ("trace.json",),
    "breakdown": (),
    # Of a device that is not here: this machine is not probed.
    "predict": ("--devices", "NVIDIA L4"),
    "advise": (),
    "gate": (),
    "report": ("good.json",),
    "device": (),
    "show": ("good.json",),
    "validate": ("good.json",),
}
"""A command line of each command that is right, to which one wrong thing is added. A command that
is not listed is tried bare."""


def files(folder: Path) -> None:
    """What the values in `PLACES` name."""
    good = RUN.read_bytes()
    (folder / "good.json").write_bytes(good)
    (folder / "cut.json").write_bytes(good[: len(good) // 2])
    (folder / "deep.json").write_text('{"benchmarks":' + "[" * 5000 + "]" * 5000 + "}")
    (folder / "utf16.json").write_bytes(good.decode().encode("utf-16"))
    (folder / "list.json").write_text("[1, 2, 3]")
    (folder / "nan.json").write_text('{"benchmarks": NaN, "mfubench": -Infinity}')
    (folder / "zip").write_bytes(b"PK\x03\x04" + bytes(200))
    (folder / "pickle").write_bytes(b"\x80\x04\x95" + bytes(50))
    (folder / "empty").touch()
    (folder / "binary").write_bytes(bytes(range(256)) * 40)
    with (folder / "huge").open("wb") as file:
        file.truncate(3 * 2**30)  # sparse
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as end:
        here = os.open(".", os.O_RDONLY)
        os.chdir(folder)
        end.bind("socket")
        os.fchdir(here)
        os.close(here)
    (folder / "folder").mkdir()
    (folder / "locked").mkdir(mode=0)
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "linked").symlink_to("good.json")
    (folder / "endless").symlink_to("/dev/zero")
    (folder / "script.py").write_text("print('no torch')\n")
    (folder / "log.txt").write_text(
        "".join(f"iter {i}: loss 3.{i % 10}, time 37.11ms, mfu 0.03%\n" for i in range(40))
    )
    event = '{"ph":"X","cat":"%s","name":"%s","ts":%d,"dur":4,"pid":1,"tid":1,"args":%s}'
    events = [
        event % ("cpu_op", "aten::mm", 0, '{"External id": 1}'),
        event % ("cuda_runtime", "cudaLaunchKernel", 1, '{"correlation": 5, "External id": 1}'),
        event % ("kernel", "gemm", 3, '{"correlation": 5, "stream": 7, "device": 0}'),
    ]
    (folder / "trace.json").write_text('{"traceEvents": [' + ",".join(events) + "]}")
    (folder / "pyproject.toml").write_text("")


def parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command."""
    from mfubench.cli import build_parser

    for action in build_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise LookupError("the command line has no commands")


def values_for(action: argparse.Action) -> Sequence[str]:  # noqa: PLR0911 - one per kind
    """Values for an option or argument, by what it takes."""
    kind = getattr(action.type, "__name__", "")
    if action.choices is not None:
        return ("", "nonsense", LONG, ESCAPES, NOT_TEXT)
    if kind in ("int", "_count"):
        return WHOLE
    if kind in ("float", "duration_s"):
        return (*NUMBERS, "0", "1" + "0" * 400 + "h")
    if kind in ("user_path", "output_path", "Path"):
        return PLACES
    if action.dest in ("log", "script"):
        return (*PLACES, "-") if action.dest == "log" else PLACES
    if action.dest in ("set", "set_base"):
        return (*WORDS, *SETTINGS)
    return (*WORDS, "/etc", "..", "model/gpt", "HEAD~999", "nanogpt-cpu/cpu-float99-b12-eager")


SETTINGS = (
    'environment={"A":1}', 'environment={"A=B":"x"}', 'environment={"":"x"}', "environment=1",
    'environment={"A":"\\u0000"}', "batch_size=x", "batch_size=0", "batch_size=1e400", "cpus=5",
    "cpus=[-1]", "compile=maybe", "threads=[]", "batch_size=" + "9" * 400, "=", "batch_size",
    "batch_size=" + "[" * 3000, "loader=\x1b[2J",
)  # fmt: skip
CERTAIN = {"whole": ("", "x", "1.5", "nan", LONG), "choices": ("", "nonsense", LONG)}


def expected(action: argparse.Action, value: str) -> frozenset[str]:
    """What may come of a value."""
    kind = getattr(action.type, "__name__", "")
    is_certain = value in CERTAIN["choices"] if action.choices is not None else False
    if kind in ("int", "_count", "float", "duration_s"):
        is_certain = is_certain or value in ("", "x", "nan", LONG, ESCAPES)
    if kind in ("user_path", "output_path"):
        is_certain = is_certain or value in ("", "~nosuchuser", LONG)
    return REFUSED if is_certain else EITHER


def options() -> Iterator[Trial]:
    """A trial for each option or argument and value."""
    for command, parser in parsers().items():
        base = BASES.get(command, ())
        for action in parser._actions:
            if isinstance(action, argparse._HelpAction):
                continue
            name = action.option_strings[-1] if action.option_strings else action.dest
            if action.nargs == 0:
                flag = action.option_strings[-1]
                if action.dest == "follow":  # ends when its log does: Ctrl-C is tried by its tests
                    continue
                yield _trial(command, f"{flag}=x", [command, f"{flag}=x", *base], REFUSED)
                yield _trial(command, f"{flag} alone", [command, flag, *base], EITHER)
                continue
            for value in values_for(action):
                if action.option_strings:
                    flag = action.option_strings[-1]
                    # An empty `--flag=` and `--flag ''` are the same to argparse.
                    words = [f"{flag}={value}"] if flag.startswith("--") else [flag, value]
                    line = [command, *words, *base]
                else:
                    line = [command, value]
                yield _trial(command, f"{name} {value[:40]!a}", line, expected(action, value))
        yield _trial(command, "unknown option", [command, "--no-such-option", *base], EITHER)
        if command != "bench":  # which would measure all of it: the README's test does
            yield _trial(command, "bare", [command], EITHER)
        yield _trial(command, "too many", [command, *base, "more", "words"], EITHER)
        yield _trial(command, "help", [command, "--help"], frozenset({"ok"}))
        for encoding in ("ascii", "latin-1", "cp1252", "utf-16"):
            yield _trial(command, f"help in {encoding}", [command, "--help"], frozenset({"ok"}),
                         encoding=encoding)  # fmt: skip
            yield _trial(command, f"base in {encoding}", [command, *base], EITHER,
                         encoding=encoding)  # fmt: skip
    yield _trial("", "no command", [], frozenset({"ok"}))
    for word in ("nonsense", LONG, ESCAPES, NOT_TEXT, ""):
        yield _trial("", f"command {word[:20]!a}", [word], REFUSED)


def _trial(
    command: str,
    what: str,
    line: Sequence[str],
    expect: frozenset[str],
    *,
    encoding: str = "utf-8",
    prepare: Callable[[Path], object] = files,
    stdin: bytes = b"",
) -> Trial:
    if command == "run":  # the script's own status and words
        expect = expect | {"failed"}
    # A line per problem, the host's side of a trace, pytest's lines, a line per pair.
    if command in ("validate", "trace", "bench", "compare"):
        expect = expect | {"failed"}
    return Trial(
        name=f"{command} {what}",
        area="options of run, with scripts" if command == "run" else "options",
        commands=[line],
        expect=expect,
        prepare=prepare,
        before=without_measuring,
        encoding=encoding,
        stdin=stdin,
        timeout_s=MEASURING_S if command == "bench" else TIMEOUT_S,
    )
