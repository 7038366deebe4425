"""The time between forward, backward and optimizer: what the loop's own operators say of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mfubench_model.dispatch_count import DispatchCounter

from mfubench.script.pauses import clock_s

FORWARD, BACKWARD, CLIP, OPTIMIZER = "forward", "backward", "clip", "optimizer"
DATA, LOGGING, PYTHON = "data", "logging", "dispatch"
COMMUNICATION = "communication, exposed"
PAUSE = "pause"

_SYNC = ("aten::_local_scalar_dense", "aten::equal", "aten::is_nonzero")
_NEITHER = ("aten::zero_", "aten::_foreach_zero_", "aten::detach")
DATA_WAIT = "data wait"
Seen = tuple[str, float, float]
"""An operator between two phases: its kind, its start and its end."""


def divided(
    seen: Sequence[Seen], start_s: float, end_s: float, after: str, before: str
) -> list[tuple[str, float]]:
    """The parts of a stretch between two phases, from the operators in it, in their order.

    Between backward and optimizer it is clipping. Elsewhere operators make a batch, or something is
    read ("sync"). All up to the last value that is read is logging, with the operators that made
    it and what is done with it; from the next operator on, or from the start where nothing is read,
    all is data up to the last one. The rest is Python.

    >>> divided([("data", 2.0, 3.0)], 0.0, 4.0, "forward", "backward")
    [('data', 3.0), ('dispatch', 1.0)]
    >>> divided([("sync", 1.0, 1.5)], 0.0, 4.0, "optimizer", "forward")
    [('logging', 4.0)]
    >>> divided([("sync", 1.0, 1.5), ("data", 2.0, 3.0)], 0.0, 3.0, "optimizer", "forward")
    [('logging', 2.0), ('data', 1.0)]
    >>> seen = [("data", 0.1, 0.2), ("sync", 0.2, 1.5), ("data", 2.0, 3.0)]
    >>> divided(seen, 0.0, 3.0, "optimizer", "forward")
    [('logging', 2.0), ('data', 1.0)]
    """
    if after == BACKWARD and before == OPTIMIZER:
        return [(CLIP, end_s - start_s)]
    parts: list[tuple[str, float]] = []
    own: list[Seen] = []
    at_s = start_s
    for kind, since_s, until_s in seen:
        if kind in (DATA_WAIT, PAUSE, COMMUNICATION, FORWARD):
            parts += _own(own, at_s, since_s)
            parts.append((kind, until_s - since_s))
            at_s, own = until_s, []
        elif kind != "other":
            own.append((kind, since_s, until_s))
    parts += _own(own, at_s, end_s)
    return [(part, seconds) for part, seconds in parts if seconds > 0]


def _own(seen: Sequence[Seen], start_s: float, end_s: float) -> list[tuple[str, float]]:
    """The parts of a stretch in which only the loop's own operators ran."""
    if not seen:
        return [(PYTHON, end_s - start_s)]
    if seen[-1][0] == "sync":
        return [(LOGGING, end_s - start_s)]
    reads = [number for number, entry in enumerate(seen) if entry[0] == "sync"]
    begin_s = seen[reads[-1] + 1][1] if reads else start_s
    last_s = seen[-1][2]
    return [(LOGGING, begin_s - start_s), (DATA, last_s - begin_s), (PYTHON, end_s - last_s)]


class StretchWatch(DispatchCounter):
    """Sees the operators between the parts, and nothing within them."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[Seen] = []
        self._now = now
        self._is_open = False
        self._depth = 0
        self.call_since_s: float | None = None
        """When the function that the loop called began; None where none runs."""

    def open(self) -> None:
        if not self._is_open:
            self._depth, self.call_since_s = 0, None
            if sys.getprofile() is None:
                sys.setprofile(self._python)
            self.__enter__()  # type: ignore[no-untyped-call]
            self._is_open = True

    def close(self) -> None:
        """A mode of the script's own above this one stays where it is, and so does this."""
        if sys.getprofile() == self._python:
            sys.setprofile(None)
        if self._is_open and torch.utils._python_dispatch._get_current_dispatch_mode() is self:
            self.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self._is_open = False

    def _python(self, frame: object, event: str, argument: object) -> None:
        """Python's calls and returns, of which only the outermost count."""
        if event == "call":
            if self._depth == 0:
                self.call_since_s = clock_s()
            self._depth += 1
        elif event == "return" and self._depth:
            self._depth -= 1
            if self._depth == 0:
                self.called()
                self.call_since_s = None

    def called(self, *, whole: bool = True) -> None:
        """A function that the loop called made these operators run: its time is one thing, to its
        end, or to its last operator where it goes on."""
        since_s = self.call_since_s
        inside = [entry for entry in self.seen if since_s is not None and entry[1] >= since_s]
        kinds = {kind for kind, _, _ in inside}
        if since_s is None or not kinds or not kinds <= {DATA, "sync", "other"}:
            return
        kind = "sync" if inside[-1][0] == "sync" else DATA if DATA in kinds else "other"
        end_s = clock_s() if whole else inside[-1][2]
        self.seen[-len(inside) :] = [(kind, since_s, end_s)]

    def __torch_dispatch__(
        self, func: Any, types: object, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        since_s = clock_s()
        out = func(*args, **(kwargs or {}))
        if self._is_open:
            self.seen.append((_kind(func, args), since_s, self._now()))
        return out


def _kind(func: Any, args: Sequence[Any]) -> str:
    name = getattr(getattr(func, "_schema", None), "name", "")
    if name in _SYNC:
        return "sync"
    if name.startswith(("c10d::", "_c10d_functional::")):
        return COMMUNICATION
    if name in _NEITHER:
        return "other"
    learns = torch.is_grad_enabled() and any(getattr(a, "requires_grad", False) for a in args)
    return FORWARD if learns else DATA
