"""A process that holds one training loop and runs steps when it is told to.

Two of them take turns in a paired measurement, each with its own environment. The parent writes one
JSON object per line to the worker's standard input and reads one per line from its standard output:

    {"config": {…}, "corpus": path or null, "cache": folder, "seed": 1337}   →  {"ready": …}
        (once more: the old loop is replaced by a new one)
    {"run": n}        n steps, timed each       →  {"times_s": […], "loss": x}
    {"turn": n}       the same, and one evaluation batch   →  {"times_s": […], "evaluation_s": s}
    {"save": true}    one checkpoint            →  {"seconds": s}
    {"losses": n}     n steps, every loss       →  {"losses": […]}
    {"evaluate": n}   n validation batches      →  {"loss": x}
    {"bars": true}    a block of a profile      →  {"bars": {name: seconds of an iteration}}
    {"stop": true}                              →  the process ends

Whatever goes wrong is answered as {"error": sentence, "outcome": word}.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

from mfubench.timing import time_s

Build = Callable[[dict[str, Any]], Any]
Respond = Callable[[Any, dict[str, Any]], dict[str, Any]]


def main(build: Build | None = None, respond: Respond | None = None) -> NoReturn:
    """Serve until told to stop, or until the parent is gone."""
    # Standard output carries the protocol: what a library prints must go elsewhere.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, replies, build, respond)
    sys.stderr.flush()
    os._exit(0)  # taking torch and its compiler apart takes up to a second of a pair


def serve(
    requests: TextIO, replies: TextIO, build: Build | None = None, respond: Respond | None = None
) -> None:
    """Answer each request; a request that fails is answered too, and the next one is read."""
    build, respond = build or build_loop, respond or respond_to
    loop: Any = None
    for line in requests:
        request = json.loads(line)
        if request.get("stop"):
            break
        try:
            if "config" in request:
                imports = without_gc() if loop is None else contextlib.nullcontext()
                if loop is not None:
                    loop.close()
                    loop = None  # its memory is free before the next one is built
                with imports:
                    loop = build(request)
                answer: dict[str, Any] = {"ready": True, **loop.description()}
            elif loop is None:
                answer = {"error": "no configuration yet", "outcome": "error"}
            else:
                answer = respond(loop, request)
        except Exception as error:
            answer = failure(error)
        replies.write(json.dumps(answer) + "\n")
        replies.flush()
    if loop is not None:
        loop.close()


@contextlib.contextmanager
def without_gc() -> Iterator[None]:
    """For the first loop: importing torch leaves no garbage, and looking for it is a fifth of the
    import. A loop that replaces another needs the memory of what it replaces."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def build_loop(request: dict[str, Any]) -> Any:
    """The loop of a configuration. Imports torch here: the environment is set by now."""
    from mfubench.measure.loop_config import LoopConfig

    config = LoopConfig.from_data(request["config"])
    if config.cpus is not None:
        os.sched_setaffinity(0, config.cpus)
    import torch
    from mfubench_model.corpus import open_corpus
    from mfubench_model.presets import get_preset

    from mfubench.measure.configured_loop import ConfiguredLoop

    if config.threads is not None:
        torch.set_num_threads(config.threads)
    preset = get_preset(config.preset)
    corpus = open_corpus(
        Path(request["corpus"]) if request.get("corpus") else None,
        vocab_size=preset.config.vocab_size,
        block_size=preset.config.block_size,
        cache_dir=Path(request["cache"]),
    )
    return ConfiguredLoop(config, corpus, seed=request["seed"])


def respond_to(loop: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Run what is asked for."""
    for name, answer in ANSWERS.items():
        if name in request:
            return answer(loop, request[name])
    return {"error": f"unknown request {sorted(request)}", "outcome": "error"}


def _run(loop: Any, steps: int) -> dict[str, Any]:
    return {"times_s": [time_s(loop) for _ in range(steps)], "loss": float(loop.last_loss)}


def _turn(loop: Any, steps: int) -> dict[str, Any]:
    times_s = [time_s(loop) for _ in range(steps)]
    return {"times_s": times_s, "evaluation_s": time_s(lambda: loop.evaluate(1))}


def _save(loop: Any, _: object) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="mfubench-") as folder:
        return {"seconds": time_s(lambda: loop.save(Path(folder) / "ckpt.pt"))}


def _losses(loop: Any, steps: int) -> dict[str, Any]:
    losses = []
    for _ in range(steps):
        loop()
        losses.append(float(loop.last_loss))
    return {"losses": losses}


def _evaluate(loop: Any, batches: int) -> dict[str, Any]:
    return {"loss": loop.evaluate(batches)}


def _bars(loop: Any, _: object) -> dict[str, Any]:
    return {"bars": loop.bars()}


ANSWERS: dict[str, Callable[[Any, Any], dict[str, Any]]] = {
    "run": _run,
    "turn": _turn,
    "save": _save,
    "losses": _losses,
    "evaluate": _evaluate,
    "bars": _bars,
}


def failure(error: Exception) -> dict[str, Any]:
    """What went wrong, and the outcome it is."""
    from mfubench.measure.failures import classify

    outcome, reason = classify(error, compiled=True)
    return {"error": reason, "outcome": outcome.value}


if __name__ == "__main__":
    main()
