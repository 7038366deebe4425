"""Bad inputs: every option of every command, read from the parsers, with values of its kind.

A new option is picked up by itself. A value of which is known that it must be refused says so; of
the others either is right, an answer or one sentence, and nothing else is.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.campaign.engine import ROOT, TIMEOUT_S, Trial
from tests.campaign.stand_ins import without_measuring

MEASURING_S = 240.0
"""`bench` really measures where nothing is wrong."""
REFUSED = frozenset({"refused"})
EITHER = frozenset({"ok", "refused"})
LONG = "x" * 5000
ESCAPES = "a\x1b[2J\x1b]0;title\x07\u202eb"
NOT_TEXT = os.fsdecode(b"\xff\xfe name")
RUN = next((ROOT / "results").glob("*/Linux*/0001_*.json"))
MACHINE = RUN.parent.parent.name
SIZES = [
    "--n-layer",
    "2",
    "--n-head",
    "2",
    "--n-embd",
    "8",
    "--block-size",
    "8",
    "--vocab-size",
    "65",
]

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


# --- logs, corpora, traces, scripts ---------------------------------------------------------------

LOG_LINE = b"iter %d: loss 3.1415, time 37.11ms, mfu 0.03%%\n"
HEADER = (
    b"Overriding: n_layer = 4\nOverriding: batch_size = 12\ntokens per iteration will be: 12,288\n"
    b"found vocab_size = 65 (inside data/meta.pkl)\nnumber of parameters: 0.80M\n"
    b"num decayed parameter tensors: 18, with 804,096 parameters\nusing fused AdamW: True\n"
    b"step 0: train loss 4.2, val loss 4.2\n"
)


def _bytes_changed(data: bytes, rng: random.Random) -> bytes:
    """One to five changes of a text: bytes flipped, cut out, doubled, made hostile."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(max(1, len(out)))
        kind = rng.randrange(7)
        if kind == 0 and out:
            out[at % len(out)] = rng.randrange(256)
        elif kind == 1:
            del out[at : at + rng.randint(1, 40)]
        elif kind == 2:
            out[at:at] = out[at : at + rng.randint(1, 200)] * rng.randint(1, 20)
        elif kind == 3:
            out[at:at] = rng.choice((b"\x00", b"\xff\xfe", b"\x1b[2J", b"\r", b"nan", b"1e999",
                                     b"-", b"9" * 400, b"\n" * 50, "\u202e".encode()))  # fmt: skip
        elif kind == 4:
            del out[at:]
        elif kind == 5 and out:
            digits = [i for i, c in enumerate(out) if 48 <= c < 58]
            if digits:
                out[rng.choice(digits)] = rng.choice(b"0123456789-.e")
        else:
            out[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 60)))
    return bytes(out)


def logs(rng: random.Random, count: int) -> Iterator[Trial]:
    """Logs for `explain`: nanoGPT's own with changes, in other encodings, by the standard input."""
    whole = HEADER + b"".join(LOG_LINE % i for i in range(60))
    fixed = {
        "empty": b"",
        "utf-16": whole.decode().encode("utf-16"),
        "no line end": b"x" * 200_000,
        "zeros": bytes(100_000),
        "progress bar": whole.replace(b"\n", b"\r"),
        "huge numbers": b"iter %s: loss 1.0, time 1e308ms, mfu 1e308%%\n" % (b"9" * 300),
        "escapes": whole.replace(b"Overriding: n_layer = 4", b"Overriding: device = '\x1b[2J\x07'"),
        "huge sizes": b"Overriding: n_layer = 999999999999\n" * 3 + whole,
        "yes": b"y\n" * 500_000,
        "minus": b"iter -5: loss -1.0, time -3.00ms, mfu -100.00%\n" * 20,
        "many runs": b"".join(LOG_LINE % 0 + LOG_LINE % 1 for _ in range(1200)),
    }
    for name, data in fixed.items():
        yield _log(name, data, [])
        yield _log(f"{name}, stdin", data, [], stdin=True)
    for number in range(count):
        extra = rng.choice(([], ["--json"], ["--device", "NVIDIA A100"], ["--preset", "gpt2"],
                            ["--device", "cpu"], ["--ranks", "8", "--json"]))  # fmt: skip
        yield _log(f"changed {number}", _bytes_changed(whole, rng), extra, stdin=number % 7 == 0)


def _log(name: str, data: bytes, extra: list[str], *, stdin: bool = False) -> Trial:
    def prepare(folder: Path) -> None:
        (folder / "log.txt").write_bytes(data)

    return Trial(
        name=name,
        area="logs",
        commands=[["explain", "-" if stdin else "log.txt", *extra]],
        expect=EITHER,
        prepare=prepare,
        stdin=data if stdin else b"",
    )


def traces(rng: random.Random, count: int) -> Iterator[Trial]:
    """Traces for `mfubench trace`: a small one with changes of its bytes and of its fields."""
    import gzip

    from tests.trace_builder import TraceBuilder

    trace = TraceBuilder()
    for step in range(3):
        at = step * 100
        trace.step(step, at, at + 90)
        trace.op("aten::mm", at + 1, at + 5)
        trace.launch("ampere_sgemm_128x64_nn", (at + 2, at + 3), (at + 5, at + 50))
    data = {"traceEvents": trace.events, "deviceProperties": [{"id": 0, "name": "A100"}]}
    whole = json.dumps(data).encode()
    for number in range(count):
        if number == 0:
            content = whole
        elif number % 2:
            content = _bytes_changed(whole, rng)
        else:
            copy = json.loads(whole)
            for _ in range(rng.randint(1, 3)):
                event = rng.choice(copy["traceEvents"])
                event[rng.choice(list(event))] = rng.choice(HOSTILE_VALUES)
            content = json.dumps(copy).encode()
        if number % 5 == 0 and number:
            content = gzip.compress(content)
            content = _bytes_changed(content, rng) if number % 10 == 0 else content

        def prepare(folder: Path, content: bytes = content) -> None:
            (folder / "trace.json").write_bytes(content)

        yield Trial(
            name=f"changed {number}",
            area="traces",
            commands=[["trace", "trace.json", *(["--json"] if number % 3 == 0 else ["--kernels"])]],
            expect=EITHER | {"failed"} if number else frozenset({"ok"}),
            prepare=prepare,
        )


HOSTILE_VALUES: tuple[object, ...] = (
    None, True, -1, 0, 1e308, -1e308, 2**63, 10**30, "", "x", "\x1b[2J\x07", "<script>", "9" * 50,
    "=1+1", "\ud800", [], [[[]]], {}, {"a": {"b": []}}, [None], "nan", 1e-320,
)  # fmt: skip


def corpora(rng: random.Random, count: int) -> Iterator[Trial]:
    """Corpora as `open_corpus` reads them: texts and folders of tokens."""
    text = ("The quick brown fox jumps over the lazy dog.\n" * 50).encode()
    for number in range(count):
        content = _bytes_changed(text * (number % 3), rng)
        layout = number % 4

        def prepare(folder: Path, content: bytes = content, layout: int = layout) -> None:
            if layout < 2:
                (folder / "corpus").write_bytes(content)
                return
            (folder / "corpus").mkdir()
            (folder / "corpus" / "train.bin").write_bytes(content)
            if layout == 3:
                (folder / "corpus" / "val.bin").write_bytes(content[: len(content) // 2])

        yield Trial(
            name=f"changed {number}",
            area="corpora",
            commands=[["corpus"]],
            prepare=prepare,
            main=_open_corpus,
        )


def _open_corpus(_: Sequence[str]) -> int:
    import sys

    from mfubench_model.corpus import CorpusError, open_corpus

    try:
        open_corpus(Path("corpus"), vocab_size=65, block_size=8, cache_dir=Path("cache"))
    except CorpusError as error:
        print(f"mfubench corpus: {error}", file=sys.stderr)
        return 2
    return 0


SCRIPTS = {
    "empty": "",
    "syntax error": "def (:",
    "not text": "\udcff\udcfe",
    "raises": "raise ValueError('x' * 5000)",
    "escapes in its error": "raise ValueError('\\x1b[2J')",
    "leaves with a text": "import sys; sys.exit('bye')",
    "leaves with a number": "import sys; sys.exit(7)",
    "leaves hard": "import os; os._exit(3)",
    "closes its streams": "import sys; sys.stdout.close(); sys.stderr.close()",
    "replaces its streams": "import sys; sys.stdout = sys.stderr = None",
    "changes the folder": "import os; os.chdir('/')",
    "removes the folder": "import os, shutil; d = os.getcwd(); os.chdir('/'); shutil.rmtree(d)",
    "no steps": "import torch; torch.ones(3)",
    "a loop": "import torch\nm = torch.nn.Linear(4, 4); o = torch.optim.SGD(m.parameters(), 0.1)\n"
    "for i in range(30):\n    o.zero_grad(); m(torch.ones(2, 4)).sum().backward(); o.step()\n",
    "fails in its loop": "import torch\nm = torch.nn.Linear(4, 4)\n"
    "o = torch.optim.SGD(m.parameters(), 0.1)\n"
    "for i in range(30):\n    o.zero_grad(); m(torch.ones(2, 4)).sum().backward(); o.step()\n"
    "    if i == 20: raise RuntimeError('\\x1b[31m')\n",
    "infinite recursion": "def f(): f()\nf()",
    "threads": "import threading; t = threading.Thread(target=print); t.start(); t.join()",
    "an import that is not there": "import no_such_module_at_all",
    "its own argparse": "import argparse; argparse.ArgumentParser().parse_args()",
    "interrupts itself": "raise KeyboardInterrupt",
    "patches json": "import json; json.dumps = None",
    "deletes modules": "import sys; sys.modules.clear()",
}


def scripts() -> Iterator[Trial]:
    """Scripts for `mfubench run`. A script's own traceback is its own: none of our frames in it."""
    for name, text in SCRIPTS.items():

        def prepare(folder: Path, text: str = text) -> None:
            (folder / "s.py").write_text(text, encoding="utf-8", errors="surrogateescape")

        def check(folder: Path, said: list) -> list[str]:  # type: ignore[type-arg]
            frames = [line for line in said[0].err.splitlines() if "mfubench/script" in line]
            return [f"our frame in the script's traceback: {frames[0]}"] if frames else []

        yield Trial(
            name=name,
            area="scripts",
            commands=[["run", "--no-ceilings", "--steps", "10", "s.py"]],
            expect=frozenset({"ok", "refused", "failed", "killed"}),
            prepare=prepare,
            check=check,
        )
