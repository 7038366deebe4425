"""The program of a side that is a training loop of ours: knobs, search, claims and gate use it.

    {"config": {…}, "corpus": path or null, "cache": folder, "seed": 1337}   →  what the loop is
        (once more: the old loop is replaced by a new one)
    {"run": n}, {"turn": n, …}, {"losses": n}, {"evaluate": n}, {"start": n, …},
    {"save": true}, {"bars": true}, {"count": true}     →  as the methods of `TimedLoop` say

Whatever goes wrong is answered as {"error": sentence, "outcome": word}.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mfubench.pairs.child import Answer, Parent, Request

LOAD_FIRST = "--load-torch-first"
"""Before the first request: both sides of a gate do so at once, before either builds a loop."""
COUNTED = ("run", "turn", "losses", "evaluate", "start")
"""Requests whose value is a number of steps or batches; further keys are keyword arguments."""
PLAIN = ("save", "bars", "count")
FORK_SERVER = "--fork-server"
"""Load torch, and be forked for every side (`fork_server.py`)."""


class LoopProgram:
    """One loop at a time, and the answers that it gives."""

    def __init__(self, build: Callable[[Request], Any] | None = None) -> None:
        self._build_loop = build or build_loop
        self._loop: Any = None

    def answer(self, request: Request) -> Answer:
        """Build what is asked for, or run it."""
        if "config" in request:
            return self._build(request)
        if self._loop is None:
            raise RuntimeError("no loop is built yet")
        name = next((name for name in (*COUNTED, *PLAIN) if name in request), None)
        if name is None:
            raise ValueError(f"unknown request {sorted(request)}")
        count = [request[name]] if name in COUNTED else []
        wanted = {key: value for key, value in request.items() if key != name}
        answer: Answer = getattr(self._loop, name)(*count, **wanted)
        return answer

    def _build(self, request: Request) -> Answer:
        imports = without_gc() if self._loop is None else contextlib.nullcontext()
        self.close()  # the old loop's memory is free before the next one is built
        with imports:
            self._loop = self._build_loop(request)
        answer: Answer = self._loop.description()
        return answer

    def close(self) -> None:
        """Stop the loop's loader."""
        if self._loop is not None:
            self._loop.close()
        self._loop = None


@contextlib.contextmanager
def without_gc() -> Iterator[None]:
    """For the first loop: importing torch leaves no garbage, and looking for it is a fifth of the
    import. A loop that replaces another needs the memory of what it replaces."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def build_loop(request: Request) -> Any:
    """The loop of a configuration. Imports torch here: the environment is set by now."""
    from mfubench.measure.loop_config import LoopConfig

    config = LoopConfig.from_data(request["config"])
    if config.cpus is not None:
        os.sched_setaffinity(0, config.cpus)
    import torch
    from mfubench_model.corpus import open_corpus
    from mfubench_model.presets import get_preset

    from mfubench.measure.configured_loop import ConfiguredLoop
    from mfubench.pairs.timed_loop import TimedLoop

    if config.threads is not None:
        torch.set_num_threads(config.threads)
    preset = get_preset(config.preset)
    corpus = open_corpus(
        Path(request["corpus"]) if request.get("corpus") else None,
        vocab_size=preset.config.vocab_size,
        block_size=preset.config.block_size,
        cache_dir=Path(request["cache"]),
    )
    return TimedLoop(ConfiguredLoop(config, corpus, seed=request["seed"]))


def failure(error: Exception) -> tuple[str, str]:
    """The outcome and the sentence of what went wrong."""
    from mfubench.measure.failures import classify

    outcome, reason = classify(error, compiled=True)
    return outcome.value, reason


def load_torch() -> None:
    """With its compiler, which any optimizer of torch loads."""
    with without_gc():
        import torch._dynamo  # noqa: F401


def serve_forks(parent: Parent) -> None:
    """Fork when asked to, and say how a fork has ended. Returns in each fork, as the process that
    was asked for; the server itself ends here."""
    while (request := parent.next_request()) is not None:
        if "reap" in request:
            pid, status = os.waitpid(request["reap"], os.WNOHANG)
            parent.reply({"status": os.waitstatus_to_exitcode(status) if pid else None})
            continue
        if not (pid := os.fork()):
            parent.leave()
            become(request["fork"])
            return
        parent.reply({"pid": pid})
    os._exit(0)


def become(asked: Request) -> None:
    """What a new process would have been started with: a group, streams, environment, folder."""
    os.setpgid(0, 0)
    said = os.open(asked["said"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(said, sys.stdout.fileno())
    os.dup2(said, sys.stderr.fileno())
    os.environ.update(asked["environment"])
    if asked["cwd"]:
        os.chdir(asked["cwd"])
    paths = asked["environment"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [path for path in paths if path]
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))


def main() -> None:
    """Serve until there are no more requests."""
    parent = Parent()
    if FORK_SERVER in sys.argv:
        load_torch()
        gc.freeze()  # a fork would copy every page that the collector marks
        serve_forks(parent)
        parent = Parent()
    elif LOAD_FIRST in sys.argv:
        load_torch()
    program = LoopProgram()
    parent.serve(program.answer, failure)
    program.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # taking torch and its compiler apart takes up to a second of a pair


if __name__ == "__main__":
    main()
