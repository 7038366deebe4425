"""The program of a side that is a training loop of ours: knobs, search, claims and gate use it.

    {"config": {…}, "corpus": path or null, "cache": folder, "seed": 1337}   →  what the loop is
        (once more: the old loop is replaced by a new one)
    {"run": n}, {"turn": n, …}, {"losses": n}, {"evaluate": n}, {"start": n, …},
    {"compile": processors}, {"save": true}, {"bars": true}, {"count": true}
        →  as the methods of `TimedLoop` say

Whatever goes wrong is answered as {"error": sentence, "outcome": word}.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mfubench.pairs.child import Answer, Parent, Request
from mfubench.pairs.forked import FORK_SERVER, load_and_fork, load_compiler, without_gc

LOAD_FIRST = "--load-torch-first"
"""Before the first request: both sides of a gate do so at once, before either builds a loop."""
WITH_A_VALUE = ("run", "turn", "losses", "evaluate", "start", "compile")
"""Requests whose value is the first argument, a number of steps mostly; further keys are keyword
arguments."""
PLAIN = ("save", "bars", "count")


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
        name = next((name for name in (*WITH_A_VALUE, *PLAIN) if name in request), None)
        if name is None:
            raise ValueError(f"unknown request {sorted(request)}")
        value = [request[name]] if name in WITH_A_VALUE else []
        wanted = {key: value for key, value in request.items() if key != name}
        answer: Answer = getattr(self._loop, name)(*value, **wanted)
        return answer

    def _build(self, request: Request) -> Answer:
        # A loop that replaces another needs the memory of what it replaces.
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


def main() -> None:
    """Serve until there are no more requests."""
    if FORK_SERVER in sys.argv:
        load_and_fork()
    parent = Parent()
    if LOAD_FIRST in sys.argv:
        load_compiler()
    program = LoopProgram()
    parent.serve(program.answer, failure)
    program.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # taking torch and its compiler apart takes up to a second of a pair


if __name__ == "__main__":
    main()
