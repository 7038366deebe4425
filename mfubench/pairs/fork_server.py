"""Processes of a training loop or script, forked from one that has loaded torch.

Loading torch and its compiler is most of what a pair of processes takes: five to six seconds on two
cores. Nothing of it is under test. So one process loads it, computes nothing, and is forked for
every side. A fork has no threads yet and no code under test: that, its environment and its folder
come with it. Two forks share the addresses of what was loaded before them, as all processes of one
program share its pages; what they allocate for a loop is their own.

Only Linux does this, and only for training on its CPU with a steadied allocator: glibc's default
ends up in another state from process to process, which forks would hide, and a GPU was never tried.
Where a fork fails, a process is started as everywhere else. `forked.py` is the child's half.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

import psutil

from mfubench.measure.loop_config import keeps_memory
from mfubench.pairs.forked import FORK_SERVER
from mfubench.pairs.side import (
    Process,
    Said,
    Side,
    SideError,
    Start,
    Tail,
    start_process,
)

LOOK_S = 0.01
"""Between two looks whether a fork has ended."""
MOST_SERVERS = 8
"""That are kept for later: each holds some hundred MiB."""
GONE = -1
"""The status of a process whose own is not known."""


class ForkServer:
    """One process that has loaded torch with an environment, and its forks."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        """Start loading; the first fork waits for it."""
        self._folder = tempfile.TemporaryDirectory(prefix="mfubench-forks-")
        self._number = 0
        self._side = Side(command, name="the process that loads torch", environment=environment)

    def fork(self, environment: Mapping[str, str], cwd: Path | None) -> tuple[Fork, list[Tail]]:
        """A new process in a folder, with more in its environment, and what it will have said on
        its standard error and output. Raises SideError."""
        self._number += 1
        paths = [Path(self._folder.name) / f"{self._number}-{name}" for name in ("error", "output")]
        asked = {"environment": dict(environment), "cwd": cwd and str(cwd)}
        with contextlib.ExitStack() as opened:
            pipes = [opened.enter_context(_pipe(path)) for path in paths]
            answer = self._side.ask({"fork": {**asked, "said": list(map(str, paths))}})
            opened.pop_all()
        for path, pipe in zip(paths, pipes, strict=True):
            path.unlink()
            os.set_blocking(pipe.fileno(), True)
        return Fork(int(answer["pid"]), self), [Tail(pipe) for pipe in pipes]

    def status_of(self, pid: int) -> int | None:
        """How a fork ended; None while it runs."""
        try:
            status: int | None = self._side.ask({"reap": pid})["status"]
            return status
        except SideError:  # its parent is gone, and was the only one who could be told
            with contextlib.suppress(psutil.NoSuchProcess):
                if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                    return None
            return GONE

    def close(self) -> None:
        """End the server. Its forks have an owner each, who ends them."""
        self._side.close()
        self._folder.cleanup()


class Fork:
    """A fork, with what `subprocess.Popen` has of a process."""

    def __init__(self, pid: int, server: ForkServer) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._server = server

    def poll(self) -> int | None:
        """Its status; None while it runs."""
        if self.returncode is None:
            self.returncode = self._server.status_of(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its status. Raises subprocess.TimeoutExpired."""
        deadline_s = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if deadline_s is not None and time.monotonic() > deadline_s:
                raise subprocess.TimeoutExpired("a fork", timeout or 0.0)
            time.sleep(LOOK_S)
        return status


def _pipe(path: Path) -> IO[bytes]:
    """The reader's end of a pipe with a name, without waiting for somebody who writes."""
    os.mkfifo(path, 0o600)
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0)


class ForkServers:
    """A server for every program and environment that sides are started with."""

    def __init__(self) -> None:
        self._servers: dict[tuple[str, ...], ForkServer] = {}
        self._failed: set[tuple[str, ...]] = set()

    def start_of(self, command: list[str], environment: Mapping[str, str]) -> Start | None:
        """What starts a side with `command` and, among others, `environment`: a fork of the server
        for them, which starts with the first one. None where sides are processes of their own from
        the start: not on Linux, or without a steadied allocator."""
        if sys.platform != "linux" or not keeps_memory(environment):
            return None
        key = (*command, *sorted(f"{name}={value}" for name, value in environment.items()))

        def start(more: Mapping[str, str], cwd: Path | None) -> tuple[Process, Sequence[Said]]:
            if key not in self._failed:
                with contextlib.suppress(SideError):
                    return self._server(key, command, environment).fork(more, cwd)
                self._failed.add(key)  # a process of its own says why, if that is no better
            return start_process(command, more, cwd)

        return start

    def _server(
        self, key: tuple[str, ...], command: list[str], environment: Mapping[str, str]
    ) -> ForkServer:
        server = self._servers.pop(key, None) or ForkServer([*command, FORK_SERVER], environment)
        self._servers[key] = server  # now the last one
        if len(self._servers) > MOST_SERVERS:
            self._servers.pop(next(iter(self._servers))).close()
        return server

    def close(self) -> None:
        """End them all."""
        for server in self._servers.values():
            server.close()
        self._servers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
