"""The child's half of `fork_server.py`: a process that has loaded torch, and is forked.

It needs nothing but Python, torch and `child.py`, whoever's Python it runs in.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from mfubench.pairs.child import Parent, Request

FORK_SERVER = "--fork-server"
"""Load torch, and be forked for every side."""


class Loaded(NamedTuple):
    """What a fork had before it was one."""

    seconds: float = 0.0
    """That loading torch and its compiler took."""
    compiler_bytes: int = 0
    """By how much the process grew by the compiler, which any optimizer of torch loads."""


NOTHING = Loaded()


def load_and_fork(size_bytes: Callable[[], int | None] = lambda: None) -> Loaded:
    """Load torch, then fork when asked to. Returns in each fork, as the process that was asked for;
    the server itself ends here. `size_bytes` says how large this process is."""
    parent, since_s = Parent(), time.monotonic()
    with without_gc():
        import torch  # noqa: F401
    before = size_bytes()
    load_compiler()
    seconds, after = time.monotonic() - since_s, size_bytes()
    gc.freeze()  # a fork would copy every page that the collector marks
    serve_forks(parent)
    return Loaded(seconds, 0 if before is None or after is None else after - before)


def load_compiler() -> None:
    """With torch itself; any optimizer of torch loads it."""
    with without_gc():
        import torch._dynamo  # noqa: F401


@contextlib.contextmanager
def without_gc() -> Iterator[None]:
    """Importing torch leaves no garbage, and looking for it is a fifth of the import."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def serve_forks(parent: Parent) -> None:
    """Fork when asked to, and say how a fork has ended. Returns in each fork."""
    while (request := parent.next_request()) is not None:
        if "reap" in request:
            pid, status = os.waitpid(request["reap"], os.WNOHANG)
            parent.reply({"status": os.waitstatus_to_exitcode(status) if pid else None})
            continue
        asked = request["fork"]
        # Somebody reads these pipes already: opening them does not wait.
        said = [os.open(path, os.O_WRONLY) for path in asked["said"]]
        if not (pid := os.fork()):
            parent.leave()
            become(asked, said)
            return
        for one in said:
            os.close(one)
        parent.reply({"pid": pid})
    os._exit(0)


def become(asked: Request, said: list[int]) -> None:
    """What a new process would have been started with: a group, streams, environment, folder, and
    random numbers of its own."""
    os.setpgid(0, 0)
    for descriptor, stream in zip(said, (sys.stderr, sys.stdout), strict=True):
        os.dup2(descriptor, stream.fileno())
        os.close(descriptor)
    os.environ.update(asked["environment"])
    if asked["cwd"]:
        os.chdir(asked["cwd"])
    paths = asked["environment"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [path for path in paths if path]
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    if "numpy.random" in sys.modules:  # Python's own are new in every fork
        sys.modules["numpy.random"].seed()
