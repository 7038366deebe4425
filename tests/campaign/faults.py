"""Faults: real runs that are interrupted, run out of disk, memory or files, or lose their folder.

What was measured by then must be on the disk, and nothing else may be left: no process, no
worktree, no temporary file.
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.campaign.engine import ROOT, Said, Trial

SLOW_S = 400.0
ANY_END = frozenset({"ok", "refused", "failed"})
Before = Callable[[], object]

CASES = """
import pytest
from mfubench.measure.gpt_workload import GPTWorkload
from mfubench_model.config import GPTConfig
from mfubench_model.presets import Preset

TINY = Preset(
    name="tiny",
    config=GPTConfig(block_size=64, vocab_size=65, n_layer=1, n_head=1, n_embd=8, bias=False),
    batch_size=4, eval_interval=50, eval_iters=2, log_interval=1, max_iters=100,
    learning_rate=1e-3, beta1=0.9, beta2=0.99, description="for tests", nanogpt_config="",
)

@pytest.mark.parametrize("size", range(1, 9))
def test_step(measure_case, device, dtype, size):
    corpus = measure_case.session.corpus("nanogpt-cpu")
    workload = GPTWorkload(TINY, size, corpus)
    measure_case.train_step(workload, device=device, dtype=dtype, compile=False)
"""


def project(folder: Path) -> None:
    """A project with eight tiny cases, ceilings stored."""
    from tests.inner_runs import store_ceiling

    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "test_tiny.py").write_text(CASES)
    (folder / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\naddopts = "-p no:cacheprovider"\n'
    )
    store_ceiling(folder / "results")


def repository(folder: Path) -> None:
    """A clone of this repository with a commit more, for a gate."""

    def git(*words: str) -> None:
        done = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *words]
        subprocess.run(done, cwd=folder, check=True, capture_output=True)

    git("init", "--quiet", "--initial-branch=main", ".")
    shutil.copytree(ROOT / "model", folder / "model", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / ".gitignore").write_text("results/\n")
    git("add", "-A")
    git("commit", "--quiet", "-m", "base")
    (folder / "more").write_text("more")
    git("add", "-A")
    git("commit", "--quiet", "-m", "more")


# --- the programs ---------------------------------------------------------------------------------


def sweep(words: Sequence[str]) -> int:
    """A smoke sweep of the tiny project, in this process."""
    from dataclasses import replace

    import pytest

    from mfubench.suite.sweep import PLANS

    short = {"rounds_budget_s": 0.15, "warmup_budget_s": 0.1, "ceiling_budget_s": 0.1}
    PLANS["smoke"] = replace(PLANS["smoke"], **short)
    plugins = ["-p", "mfubench.plugin", "-p", "no:xdist", "-p", "no:hypothesispytest"]
    asked = ["benchmarks/", "--sweep", "smoke", "--devices", "cpu", "--dtypes", "float32"]
    return int(pytest.main([*plugins, *asked, *words], plugins=[_Begins()]))


STARTED = threading.Event()
"""Set once cases are about to be measured: before that Python and pytest load, and nothing is lost.
"""


class _Begins:
    """A plugin that tells when measuring begins."""

    def pytest_collection_finish(self) -> None:
        STARTED.set()


def sweep_kept(folder: Path, said: list[Said]) -> list[str]:
    """Every case that was told as finished is in a saved file, or in the journal."""
    told = re.findall(r"^  \[(\d+)/\d+\] ", said[0].out, re.MULTILINE)
    kept = 0
    for path in _saved(folder):
        data = json.loads(path.read_text(encoding="utf-8"))
        kept += len(data["benchmarks"]) + len(data["mfubench"]["other_outcomes"])
    for path in folder.glob("results/*/unsaved-*.jsonl"):
        kept += len(path.read_text(encoding="utf-8").splitlines())
    for path in (folder.parent / "t").glob("mfubench-results-*/unsaved.json"):
        kept += len(json.loads(path.read_text(encoding="utf-8")))
    for line in said[0].err.splitlines():  # the last place that takes it
        kept += 100 if line.startswith("{") else 0
    return [f"lost: {len(told)} cases were told, {kept} are kept"] if len(told) > kept else []


def _saved(folder: Path) -> list[Path]:
    runs = [*folder.glob("results/*/*/0*.json"), *folder.glob("mfubench-results-*/*.json")]
    return [*runs, *(folder.parent / "t").glob("mfubench-results-*/0*.json")]


def gate_kept(folder: Path, said: list[Said]) -> list[str]:
    """Whole pairs are in the journal, or the verdict is saved; no worktree is left."""
    text = said[0].err
    pairs = [int(n) for n in re.findall(r"pair (\d+): ", text)]
    whole = max(pairs, default=1) - 1
    journals = list(folder.glob("results/*/gate/.pairs-*.jsonl"))
    kept = sum(len(path.read_bytes().splitlines()) for path in journals)
    documents = [*folder.glob("results/*/gate/0*.json"), *_saved(folder)]
    broken = []
    if whole > kept and not documents:
        broken.append(f"lost: {whole} pairs were whole, {kept} are kept")
    listed = subprocess.run(
        ["git", "worktree", "list"], cwd=folder, capture_output=True, text=True, check=False
    )
    if len(listed.stdout.splitlines()) > 1:
        broken.append(f"worktree left: {listed.stdout.splitlines()[1]}")
    return broken


GATE = [
    "gate",
    "--base",
    "HEAD~1",
    "--cases",
    "train-step/nanogpt-cpu/cpu-float32-b1-eager",
    "--pairs",
    "6",
]
ADVISE = ["advise", "--budget", "30", "--knobs", "adamw fused", "--threads", "1"]
BREAKDOWN = ["breakdown", "nanogpt-cpu", "--threads", "1"]
RUN = ["run", "--no-ceilings", "s.py"]
COMPARE = ["compare", "s.py", "s.py 1", "--budget", "15s"]
SCRIPT = """
import time
import torch
m = torch.nn.Linear(64, 64); o = torch.optim.SGD(m.parameters(), 0.1)
end_s = time.monotonic() + 6
while time.monotonic() < end_s:
    o.zero_grad(); m(torch.ones(8, 64)).sum().backward(); o.step()
"""


def script(folder: Path) -> None:
    """A script that trains for six seconds."""
    (folder / "s.py").write_text(SCRIPT)


def run_kept(folder: Path, said: list[Said]) -> list[str]:
    """Once a step was found, an end that Python sees leaves a saved run, or the run itself as
    text."""
    ended = said[0].status >= 0
    found = "was found" in said[0].err
    kept = bool(_saved(folder)) or "{" in said[0].err
    return ["lost: steps were found, nothing is saved"] if ended and found and not kept else []


def compare_kept(folder: Path, said: list[Said]) -> list[str]:
    """Pairs that were told as whole are in the journal, or their verdict is saved."""
    whole = max((int(n) for n in re.findall(r"pair (\d+), ", said[0].err)), default=0)
    if "it ended after" in said[0].err or "it failed" in said[0].err:
        whole -= 1  # in the last one a side failed, as a busy machine has it here
    kept = [
        *folder.glob("results/*/comparison/.pairs-*.jsonl"),
        *folder.glob("results/*/comparison/0*.json"),
        *_saved(folder),
    ]
    return [f"lost: {whole} pairs were whole, nothing is kept"] if whole and not kept else []


# --- what goes wrong ------------------------------------------------------------------------------


def after(delay_s: float, act: Callable[[], object], *, of_sweep: bool = False) -> Before:
    """Do something a while after the program has begun, from a thread of its own; with `of_sweep`
    after its measuring has begun."""

    def wait() -> None:
        STARTED.wait(30.0)
        time.sleep(delay_s)
        act()

    def start() -> None:
        if not of_sweep:
            STARTED.set()
        threading.Thread(target=wait, daemon=True).start()

    return start


def signalled(*numbers: int, gap_s: float = 0.0) -> Callable[[], None]:
    """Send this process signals, one after the other, as `timeout` and CI runners do."""

    def send() -> None:
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(gap_s)

    return send


def file_limit(count: int) -> Before:
    """At most so many open files."""
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def size_limit(size_bytes: int) -> Before:
    """No file above a size: what a full disk looks like to a program."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))

    return limit


def memory_limit(more_bytes: int) -> Before:
    """So much more address space than now."""

    def limit() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + more_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    return limit


def closed_pipe(*, error_too: bool = False) -> Before:
    """The reader of the output is gone, as after `| head`."""

    def close() -> None:
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, 1)
        if error_too:
            os.dup2(writer, 2)

    return close


def full_output() -> None:
    """The disk to which the output goes is full."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def closed_output() -> None:
    """`>&-`: there is no output at all."""
    os.close(1)


def folder_gone() -> None:
    """Somebody removes the results."""
    shutil.rmtree("results", ignore_errors=True)


def everything_gone() -> None:
    """Somebody removes the folder in which the user stands."""
    shutil.rmtree(Path.cwd(), ignore_errors=True)


def refusing_disk(code: int = errno.ENOSPC) -> Before:
    """Every write below `results` fails from now on, and with it the temporary folder's."""

    def begin() -> None:
        from mfubench.results import write

        def refuse(path: Path, text: str) -> Path:
            raise OSError(code, os.strerror(code))

        write.write_whole = refuse

    return begin


def neighbours() -> Before:
    """Another program works on every core, for as long as the trial lasts at most."""

    def begin() -> None:
        ours = os.getpid()
        for _ in range(os.cpu_count() or 1):
            if os.fork() == 0:
                end_s = time.monotonic() + 60
                while time.monotonic() < end_s and os.getppid() == ours:
                    sum(range(100_000))
                os._exit(0)

    return begin


def faults(rng: random.Random, count: int) -> Iterator[Trial]:
    """`count` faults over sweeps, gates, searches, breakdowns, runs and comparisons of scripts."""
    makers = list(_makers(rng))
    for number in range(count):
        maker = makers[number % len(makers)]
        yield maker(number)


def _makers(rng: random.Random) -> Iterator[Callable[[int], Trial]]:
    ends: tuple[tuple[str, tuple[int, ...]], ...] = (
        ("SIGINT", (signal.SIGINT,)),
        ("SIGTERM", (signal.SIGTERM,)),
        ("SIGHUP", (signal.SIGHUP,)),
        ("SIGTERM twice", (signal.SIGTERM, signal.SIGTERM)),
        ("SIGINT, SIGTERM", (signal.SIGINT, signal.SIGTERM)),
        ("SIGINT five times", (signal.SIGINT,) * 5),
    )
    for name, numbers in ends:
        gap_s = rng.choice((0.0, 0.05, 0.5))
        send = signalled(*numbers, gap_s=gap_s)
        yield _sweep(f"{name}", lambda send=send: after(rng.uniform(0.1, 3.5), send, of_sweep=True))  # type: ignore[misc]
        yield _gate(f"{name}", lambda send=send: after(rng.uniform(0.2, 14.0), send))  # type: ignore[misc]
        yield _other(ADVISE, name, lambda send=send: after(rng.uniform(0.2, 12.0), send))  # type: ignore[misc]
        yield _other(BREAKDOWN, name, lambda send=send: after(rng.uniform(0.2, 8.0), send))  # type: ignore[misc]
        yield _scripts(RUN, name, lambda send=send: after(rng.uniform(0.2, 7.0), send))  # type: ignore[misc]
        yield _scripts(COMPARE, name, lambda send=send: after(rng.uniform(0.2, 20.0), send))  # type: ignore[misc]
    for name, before in (
        ("closed pipe", closed_pipe),
        ("both closed pipes", lambda: closed_pipe(error_too=True)),
        ("full output", lambda: full_output),
        ("no output", lambda: closed_output),
        ("folder of results removed", lambda: after(rng.uniform(0.3, 3.0), folder_gone)),
        ("everything removed", lambda: after(rng.uniform(0.3, 3.0), everything_gone)),
        ("files of 4 KiB at most", lambda: size_limit(4096)),
        ("files of 100 KiB at most", lambda: size_limit(100_000)),
        ("40 open files", lambda: file_limit(40)),
        ("24 open files", lambda: file_limit(24)),
        ("300 MB of memory more", lambda: memory_limit(300_000_000)),
        ("40 MB of memory more", lambda: memory_limit(40_000_000)),
        ("a disk that refuses", refusing_disk),
    ):
        if name != "no output":  # pytest itself does not start without one
            yield _sweep(name, before)
        if name in CLOSED:
            yield _show(name, before)
    for name, before in (
        ("closed pipe", closed_pipe),
        ("24 open files", lambda: file_limit(24)),
        ("files of 4 KiB at most", lambda: size_limit(4096)),
        ("folder of results removed", lambda: after(rng.uniform(0.5, 9.0), folder_gone)),
        ("300 MB of memory more", lambda: memory_limit(300_000_000)),
    ):
        yield _gate(name, before)
        yield _other(ADVISE, name, before)
        yield _other(BREAKDOWN, name, before)
        yield _scripts(RUN, name, before)
        yield _scripts(COMPARE, name, before)
    yield _two_gates(rng)
    yield _sweep("a neighbour on every core", neighbours)
    yield _gate("a neighbour on every core", neighbours)
    yield _scripts(COMPARE, "a neighbour on every core", neighbours)


TWO_SIGNALS = ("SIGTERM twice", "SIGINT, SIGTERM")
"""The second may come when all is saved and Python ends."""
CLOSED = ("closed pipe", "both closed pipes", "full output", "no output")


def _sweep(name: str, before: Callable[[], Before]) -> Callable[[int], Trial]:
    return lambda number: Trial(
        name=f"sweep: {name} {number}",
        area="faults",
        commands=[[]],
        expect=ANY_END | {"killed"} if name in TWO_SIGNALS else ANY_END,
        prepare=project,
        before=before(),
        main=sweep,
        check=sweep_kept,
    )


def _gate(name: str, before: Callable[[], Before]) -> Callable[[int], Trial]:
    return lambda number: Trial(
        name=f"gate: {name} {number}",
        area="faults",
        commands=[GATE],
        expect=ANY_END,
        prepare=repository,
        before=before(),
        check=gate_kept,
        timeout_s=SLOW_S,
    )


def _other(words: Sequence[str], name: str, before: Callable[[], Before]) -> Callable[[int], Trial]:
    return lambda number: Trial(
        name=f"{words[0]}: {name} {number}",
        area="faults",
        commands=[words],
        expect=ANY_END,
        timeout_s=SLOW_S,
        before=before(),
    )


def _scripts(
    words: Sequence[str], name: str, before: Callable[[], Before]
) -> Callable[[int], Trial]:
    return lambda number: Trial(
        name=f"{words[0]}: {name} {number}",
        area="faults",
        commands=[words],
        expect=ANY_END | {"killed"} if words is RUN else ANY_END,  # a script has its own signals
        prepare=script,
        before=before(),
        check=run_kept if words is RUN else compare_kept,
        timeout_s=SLOW_S,
    )


def _show(name: str, before: Callable[[], Before]) -> Callable[[int], Trial]:
    from tests.campaign.inputs import files

    lines = (
        *(["show", "good.json"], ["report", "good.json", "--markdown"], ["device"]),
        *(["flops", "--preset", "gpt2"], ["validate", "good.json"], ["explain", "log.txt"]),
    )
    return lambda number: Trial(
        name=f"{lines[number % len(lines)][0]}: {name} {number}",
        area="faults",
        commands=[lines[number % len(lines)]],
        expect=ANY_END,
        prepare=files,
        before=before(),
    )


def _two_gates(rng: random.Random) -> Callable[[int], Trial]:
    """The second is told that the first one measures."""

    def hold() -> None:
        from mfubench.pairs.machine_lock import machine_lock

        child = os.fork()
        if child == 0:
            with machine_lock():
                time.sleep(4)
            os._exit(0)
        time.sleep(0.5)

    return lambda number: Trial(
        name=f"two gates at once {number}",
        area="faults",
        commands=[GATE],
        expect=frozenset({"refused"}),
        prepare=repository,
        before=hold,
    )
