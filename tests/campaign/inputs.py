"""Bad inputs that are files: logs, traces, corpora, scripts."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.campaign.engine import EITHER, Trial

LOG_LINE = b"iter %d: loss 3.1415, time 37.11ms, mfu 0.03%%\n"
HEADER = (
    b"Overriding: n_layer = 4\nOverriding: batch_size = 12\ntokens per iteration will be: 12,288\n"
    b"found vocab_size = 65 (inside data/meta.pkl)\nnumber of parameters: 0.80M\n"
    b"num decayed parameter tensors: 18, with 804,096 parameters\nusing fused AdamW: True\n"
    b"step 0: train loss 4.2, val loss 4.2\n"
)


def bytes_changed(data: bytes, rng: random.Random) -> bytes:
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
        yield _log(f"changed {number}", bytes_changed(whole, rng), extra, stdin=number % 7 == 0)


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
            content = bytes_changed(whole, rng)
        else:
            copy = json.loads(whole)
            for _ in range(rng.randint(1, 3)):
                event = rng.choice(copy["traceEvents"])
                event[rng.choice(list(event))] = rng.choice(HOSTILE_VALUES)
            content = json.dumps(copy).encode()
        if number % 5 == 0 and number:
            content = gzip.compress(content)
            content = bytes_changed(content, rng) if number % 10 == 0 else content

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
        content = bytes_changed(text * (number % 3), rng)
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
