"""SIGTERM, by which a cancelled CI job is asked to end, does what Ctrl-C does; so does SIGHUP, by
which a terminal that is closed takes its programs with it."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

ENDING_S = 10.0
"""After an interrupt further ones are passed over for so long: `timeout` and CI runners send two or
three, and the second must not cut off the saving and tidying that the first one began."""
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Within, each of these signals raises KeyboardInterrupt: what was measured is kept, and what
    was set up is taken away. Does nothing outside the main thread, where Python takes no signals.

    A signal that is ignored, as SIGHUP below `nohup`, or SIGINT in a shell's background, stays
    ignored.
    """
    first_s: list[float] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if first_s and now_s - first_s[0] < ENDING_S:
            return
        first_s[:] = [now_s]
        raise KeyboardInterrupt

    before = _handled_by(interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handled_by(handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """Give these signals a handler, but those that are ignored; the handlers before, by signal.
    None outside the main thread, where Python takes no signals."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    numbers = (getattr(signal, name, None) for name in _NAMES)
    return {
        number: signal.signal(number, handler)
        for number in numbers
        if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None)
    }


class Held:
    """Signals that would end the process wait while what was measured of another program, which is
    over, is saved. That takes a moment, and the process ends then by itself.

    >>> import os, signal
    >>> held = Held()
    >>> held.begin()
    >>> os.kill(os.getpid(), signal.SIGINT)
    >>> held.came
    True
    >>> held.end()
    """

    def __init__(self) -> None:
        self.came = False
        """Whether one of them has come since `begin`."""
        self._raises = False
        self._before: dict[int, Any] = {}

    def begin(self) -> None:
        """From now on. Does nothing outside the main thread, nor for a signal that is ignored."""
        if not self._before:
            self._before = _handled_by(self._note)

    def end(self) -> None:
        """Each signal does again what it did before."""
        while self._before:
            signal.signal(*self._before.popitem())

    @contextlib.contextmanager
    def let_through(self) -> Iterator[None]:
        """Within, they raise KeyboardInterrupt: around what lasts, and may be left out."""
        self._raises = True
        try:
            yield
        finally:
            self._raises = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        if self._raises:
            raise KeyboardInterrupt
