"""A side: a process that does its next unit of work when it is told, whoever wrote that work.

This is the parent's half; `child.py` is the half that the process itself uses.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import IO, Any, Protocol, Self

import psutil

from mfubench.pairs.child import ADDRESS, KEY, Answer, Request
from mfubench.results.outcomes import Outcome

START_TIMEOUT_S = 120.0
TIMEOUT_S = 300.0
"""A compilation may take minutes; nothing that a side is asked for takes longer than this."""
END_S = 5.0
"""How long a process may take to end when it is told to."""
CALL_S = 0.02
"""Between two looks whether the process has connected."""
TAIL_BYTES = 1 << 16
"""Of what a process says on either stream, its end."""
LOOK_S = 0.5
"""While it waits for an answer, the parent looks so often whether the process still runs: one of
the process's own children may hold the connection open."""


class Process(Protocol):
    """What is asked of a side's process; `subprocess.Popen` has it."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...


class Said(Protocol):
    """What a process has said on a stream."""

    def last_line(self) -> str | None: ...
    def close(self) -> None: ...


Start = Callable[[Mapping[str, str], Path | None], tuple[Process, Sequence[Said]]]
"""Makes a process with more in its environment, in a folder."""


class SideError(RuntimeError):
    """A side that failed, ended or did not answer, in one sentence."""

    def __init__(self, outcome: Outcome, reason: str, side: str = "") -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason
        self.side = side
        """The name of the side."""

    @property
    def words(self) -> str:
        """The reason, behind its outcome where that is more than an error."""
        prefix = "" if self.outcome is Outcome.ERROR else f"{self.outcome.value}: "
        return prefix + self.reason.rstrip(".")


def with_a_way_out(error: str) -> str:
    """An error of CUDA that every second process gets in exclusive mode says what to type.

    >>> with_a_way_out("CUDA error: all CUDA-capable devices are busy or unavailable")[-60:]
    'and sides need one each: nvidia-smi -c 0 shares it (as root)'
    """
    if "devices are busy or unavailable" not in error:
        return error
    return (
        f"{error.rstrip('.')}. In exclusive mode a GPU serves one process at a time, and sides "
        "need one each: nvidia-smi -c 0 shares it (as root)"
    )


class Side:
    """A process that answers requests, one after the other. Between them it waits, and computes
    nothing. It is started while the parent goes on."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        name: str = "",
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        first: Request | None = None,
        start: Start | None = None,
    ) -> None:
        """Start `command`, by `start` where that is given, and tell it `first` as soon as it
        listens."""
        self.name = name
        key = os.urandom(32)
        self._listener = _listener(key)
        self._connection: Connection[Any, Any] | None = None
        self._is_closing = False
        secrets = {ADDRESS: json.dumps(self._listener.address), KEY: key.hex()}
        start = start or partial(start_process, command)
        self._process, self._said = start({**(environment or {}), **secrets}, cwd)
        self._accepting = threading.Thread(target=self._accept, args=(first,), daemon=True)
        self._accepting.start()

    # --- asking ---------------------------------------------------------------------------------

    def ask(self, request: Request, timeout_s: float = TIMEOUT_S) -> Answer:
        """The answer to a request. Raises SideError when the side fails, dies or hangs."""
        self.tell(request)
        return self.hear(timeout_s)

    def tell(self, request: Request) -> None:
        """Ask without waiting for the answer. A process that is gone says so in `hear`."""
        if self._is_connected(START_TIMEOUT_S):
            self._send(request)

    def hear(self, timeout_s: float = TIMEOUT_S) -> Answer:
        """The answer to what was told. Raises SideError as `ask` does."""
        if not self.has_answered(timeout_s):
            self._end_tree()
            raise self._error(f"the process gave no answer in {timeout_s:g} s")
        try:
            if self._connection is None:
                raise EOFError
            answer: Answer = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            raise self._ended() from None
        if "error" in answer:
            raise SideError(Outcome(answer["outcome"]), with_a_way_out(answer["error"]), self.name)
        return answer

    def turn(self, steps: int, **wanted: Any) -> dict[str, float]:
        """What a turn of `steps` units of work gave: `step_s`, the mean seconds of one, and what
        else is `wanted`."""
        return self.ask({"turn": steps, **wanted})

    def bars(self) -> dict[str, float]:
        """Seconds of each bar of a unit of work, from a block of a profile. Raises SideError where
        there is none."""
        return {name: float(s) for name, s in self.ask({"bars": True})["bars"].items()}

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def has_answered(self, timeout_s: float) -> bool:
        """Whether an answer is there to be heard, or the process has ended, within a time."""
        deadline_s = time.monotonic() + timeout_s
        if not self._is_connected(timeout_s):
            return self.has_ended
        assert self._connection is not None
        while True:
            left_s = max(0.0, deadline_s - time.monotonic())
            try:
                if self._connection.poll(min(left_s, LOOK_S)) or self.has_ended:
                    return True
            except OSError:
                return True
            if left_s == 0:
                return False

    # --- connecting -----------------------------------------------------------------------------

    def _accept(self, first: Request | None) -> None:
        """In a thread: `accept` knows no time limit. Who has not the key is not let in."""
        with self._listener:
            while self._connection is None and not self._is_closing:
                try:
                    self._connection = self._listener.accept()
                except (OSError, EOFError, AuthenticationError):
                    time.sleep(CALL_S)
        if first is not None:
            self._send(first)

    def _is_connected(self, timeout_s: float) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while self._accepting.is_alive():
            self._accepting.join(CALL_S)
            if self.has_ended or time.monotonic() > deadline_s:
                self._accepting.join(0.2)  # it may have connected just before it ended
                break
        return self._connection is not None

    def _send(self, request: Request) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.send_bytes(json.dumps(request).encode())

    # --- ending ---------------------------------------------------------------------------------

    def _ended(self) -> SideError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        return self._error(f"the process ended (status {self._process.returncode})")

    def _error(self, what: str) -> SideError:
        lines = (stream.last_line() for stream in self._said)
        words = with_a_way_out(next(filter(None, lines), ""))
        return SideError(Outcome.ERROR, f"{what}: {words or 'it said nothing'}", self.name)

    def close(self, *, gently: bool = True) -> None:
        """End the process, gently if it listens, and every process that it has started."""
        if self._is_closing:
            return
        if gently:
            self._send({"stop": True})
            with contextlib.suppress(subprocess.TimeoutExpired):
                if self._connection is not None:
                    self._process.wait(END_S)
        self._end_tree()
        self._is_closing = True
        if self._accepting.is_alive():  # nobody came; a caller without a key ends the waiting
            with contextlib.suppress(OSError, EOFError):
                Client(self._listener.address).close()
            self._accepting.join(END_S)
        if self._connection is not None:
            self._connection.close()
        for tail in self._said:
            tail.close()

    def _end_tree(self) -> None:
        tree = []
        with contextlib.suppress(psutil.NoSuchProcess):
            if not self.has_ended:
                process = psutil.Process(self._process.pid)
                tree = [*process.children(recursive=True), process]
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if sys.platform != "win32":  # children of a process that went before them
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After an interrupt at once: a CI runner kills the parent a few seconds later, and what the
        # parent has set up would stay.
        self.close(gently=kind is None or issubclass(kind, Exception))


def start_process(
    command: Sequence[str], environment: Mapping[str, str], cwd: Path | None
) -> tuple[Process, Sequence[Said]]:
    """A new process of a program, and what it will have said."""
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "KINETO_LOG_LEVEL": "99", **environment},
        cwd=cwd,
        # A group of its own: Ctrl-C reaches the parent alone, and what the process started can be
        # ended when it is itself gone.
        process_group=None if sys.platform == "win32" else 0,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    return process, [Tail(process.stderr), Tail(process.stdout)]


def _listener(key: bytes) -> Listener:
    try:
        return Listener(authkey=key)
    except OSError:  # a temporary folder whose name is too long for a socket
        return Listener(("127.0.0.1", 0), authkey=key)


def _last_line(said: bytes) -> str | None:
    """The last line with something in it.

    >>> _last_line(b"a traceback\\nValueError: no such preset\\n\\n")
    'ValueError: no such preset'
    """
    lines = said.decode("utf-8", errors="replace").split("\n")
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), None)


class Tail(threading.Thread):
    """Reads what a process says as it says it, and keeps the end: some print gigabytes."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._kept = b""
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # closed
            while read := os.read(self._stream.fileno(), TAIL_BYTES):
                self._kept = (self._kept + read)[-TAIL_BYTES:]

    def last_line(self) -> str | None:
        """The last line with something in it, of a process that has ended."""
        self.join(END_S)
        return _last_line(self._kept)

    def close(self) -> None:
        """The process and all that it started are gone."""
        self.join(END_S)
        self._stream.close()
