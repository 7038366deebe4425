"""The child's half of a side: how a process learns what to do next, and answers.

Whoever wrote the work needs three calls and no torch. A loop that is held until it is told to go
on, and then says how long its steps took:

    parent = Parent()
    while (request := parent.next_request()) is not None:
        start_s = time.perf_counter()
        for _ in range(request["turn"]):
            train_one_step()
        parent.reply({"step_s": (time.perf_counter() - start_s) / request["turn"]})

Requests and answers are JSON objects over a connection of their own. Standard input, output and
error stay the program's.
"""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Callable
from multiprocessing.connection import Client
from typing import Any

ADDRESS, KEY = "MFUBENCH_SIDE_ADDRESS", "MFUBENCH_SIDE_KEY"
"""Environment variables: where the parent listens (JSON), and the key (hexadecimal)."""

LOADED, ENDED = "loaded", "ended"
"""Keys of what a script answers beside its turns: torch is loaded, and how many steps of the turn
it had done when it was over."""

Request = dict[str, Any]
Answer = dict[str, Any]


def plain_failure(error: Exception) -> tuple[str, str]:
    """The outcome and the sentence of an error.

    >>> plain_failure(ValueError("no such preset"))
    ('error', 'ValueError: no such preset')
    """
    return "error", ": ".join(filter(None, [type(error).__name__, str(error).strip()]))


class Parent:
    """The process that tells this one what to do. When it is gone this process ends at once, in the
    middle of its work too: nobody is left to hear the answer."""

    def __init__(self) -> None:
        """Connect to the parent that started this process. Raises RuntimeError without one."""
        try:
            address, key = json.loads(os.environ.pop(ADDRESS)), os.environ.pop(KEY)
        except KeyError:
            raise RuntimeError(
                f"{ADDRESS} is not set: this program is started by mfubench, not by hand"
            ) from None
        self._connection = Client(
            tuple(address) if isinstance(address, list) else address, authkey=bytes.fromhex(key)
        )
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            while True:
                request = json.loads(self._connection.recv_bytes())
                self._requests.put(None if request.get("stop") else request)
        except (EOFError, OSError):
            os._exit(1)

    def leave(self) -> None:
        """In a fork: this connection is that of the process that was forked."""
        self._connection.close()

    def next_request(self) -> Request | None:
        """Wait for what to do next; None says that this was all."""
        return self._requests.get()

    def reply(self, answer: Answer) -> None:
        """Answer the last request."""
        self._connection.send_bytes(json.dumps(answer).encode())

    def fail(self, sentence: str, outcome: str = "error") -> None:
        """Answer the last request by what went wrong; `outcome` is a word of `Outcome`."""
        self.reply({"error": sentence, "outcome": outcome})

    def serve(
        self,
        answer: Callable[[Request], Answer],
        failure: Callable[[Exception], tuple[str, str]] = plain_failure,
    ) -> None:
        """Answer each request until there are no more. One that fails is answered too, and the
        next one is waited for."""
        while (request := self.next_request()) is not None:
            try:
                self.reply(answer(request))
            except Exception as error:
                outcome, sentence = failure(error)
                self.fail(sentence, outcome)
