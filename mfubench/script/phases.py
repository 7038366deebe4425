"""Where the time of a step goes, for `--breakdown`: a few steps on a clock that knows which part of
the loop runs.

Forward, backward and optimizer are seen by hooks and run undisturbed. Only between them the
operators that the loop itself calls are watched: they tell a batch that is made from a loss that
is read. On an accelerator these steps wait for the device at every border, so that a part's time
is its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mfubench_model.dispatch_count import DispatchCounter

from mfubench.script import graphs
from mfubench.script.recorder import Recorder, clock_s

FORWARD, BACKWARD, CLIP, OPTIMIZER = "forward", "backward", "clip", "optimizer"
DATA, LOGGING, COMMUNICATION, PYTHON = "data", "logging", "communication", "dispatch"
PAUSE = "pause"
PROFILED_STEPS = 8

_SYNC = ("aten::_local_scalar_dense", "aten::equal", "aten::is_nonzero")
_NEITHER = ("aten::zero_", "aten::_foreach_zero_", "aten::detach")


class PhaseClock:
    """Adds up the time of each part of the loop, step by step, between `start` and `stop`."""

    def __init__(self, recorder: Recorder) -> None:
        self.steps_s: list[dict[str, float]] = []
        """Of each timed step, the seconds of its parts."""
        self.is_running = False
        self._recorder = recorder
        self._stack: list[str] = []
        self._last_s = 0.0
        self._after = ""
        """The part that ended last."""
        self._between: list[tuple[str, float, float]] = []
        self._watch = _Between(self)
        self._undo: list[Callable[[], object]] = []
        device = recorder.device
        self._wait: Callable[[], None] | None = None
        if device is not None and device.type == "cuda":
            self._wait = lambda: torch.cuda.synchronize(device)

    def start(self) -> None:
        """At the end of a step."""
        self.is_running = True
        self.steps_s.append({})
        if graphs.compiled_here():
            self._undo += [
                _around_compiled_modules(self),
                graphs.watch_calls(lambda _, call: self._graph(call)),
            ]
        else:
            hooks = torch.nn.modules.module
            self._undo += [
                hooks.register_module_forward_pre_hook(self._module_starts).remove,
                hooks.register_module_forward_hook(
                    lambda *_: self.leave(FORWARD), always_call=True
                ).remove,
            ]
        self._recorder.phases = self
        self._after = OPTIMIZER
        self._last_s = self._now()
        self._watch.open()

    def stop(self) -> None:
        """At the end of the next."""
        self.is_running = False
        self._settle(self._now(), "")
        self._watch.close()
        self._recorder.phases = None
        while self._undo:
            self._undo.pop()()

    def _module_starts(self, module: Any, args: Any) -> None:
        self.enter(FORWARD)

    def _graph(self, call: Callable[[], Any]) -> Any:
        """A compiled graph outside of the other parts is forward, whoever calls it."""
        if self._stack and self._stack[-1] != FORWARD:
            return call()
        self.enter(FORWARD)
        try:
            return call()
        finally:
            self.leave(FORWARD)

    def _now(self) -> float:
        if self._wait is not None:
            self._wait()
        return clock_s()

    def enter(self, part: str) -> None:
        """A part begins; one inside another is its own."""
        if part == FORWARD and self._stack and self._stack[-1] == FORWARD:
            self._stack.append(FORWARD)  # a module inside a module
            return
        now_s = self._now()
        if self._stack:
            self._add(self._stack[-1], now_s - self._last_s)
        else:
            self._settle(now_s, part)
            self._watch.close()
        self._last_s = now_s
        self._stack.append(part)

    def leave(self, part: str) -> None:
        """A part ends."""
        if not self._stack:
            return  # it began before the clock did
        self._stack.pop()
        if part == FORWARD and self._stack and self._stack[-1] == FORWARD:
            return
        now_s = self._now()
        self._add(part, now_s - self._last_s)
        self._last_s = now_s
        if not self._stack:
            self._after = part
            self._watch.open()

    def known(self, part: str, since_s: float) -> None:
        """A stretch outside of the parts whose meaning is known: a loader's wait, a pause."""
        if not self._stack:
            now_s = clock_s()
            self._between = [entry for entry in self._between if entry[1] < since_s]
            self._between.append((part, since_s, now_s))

    def operator(self, kind: str, since_s: float) -> None:
        """An operator that the loop itself called."""
        self._between.append((kind, since_s, self._now()))

    def called(self, since_s: float | None, *, whole: bool = True) -> None:
        """A function that the loop called made these operators run: its time is one thing, to its
        end, or to its last operator where it goes on."""
        inside = [entry for entry in self._between if since_s is not None and entry[1] >= since_s]
        kinds = {kind for kind, _, _ in inside}
        if since_s is None or not kinds or not kinds <= {DATA, "sync", "other"}:
            return
        kind = "sync" if inside[-1][0] == "sync" else DATA if DATA in kinds else "other"
        end_s = clock_s() if whole else inside[-1][2]
        self._between[-len(inside) :] = [(kind, since_s, end_s)]

    def _add(self, part: str, seconds: float) -> None:
        step = self.steps_s[-1]
        step[part] = step.get(part, 0.0) + seconds

    def typical_s(self) -> dict[str, float]:
        """The mean over the steps whose length is in the middle half, without pauses."""
        ordered = sorted(
            ({part: s for part, s in step.items() if part != PAUSE} for step in self.steps_s),
            key=lambda step: sum(step.values()),
        )
        quarter = len(ordered) // 4
        middle = ordered[quarter : len(ordered) - quarter]
        parts = {part for step in middle for part in step}
        return {part: sum(step.get(part, 0.0) for step in middle) / len(middle) for part in parts}

    def _settle(self, now_s: float, before: str) -> None:
        """Give the time between two parts its meaning."""
        self.called(self._watch.call_since_s, whole=False)
        for part, seconds in divided(self._between, self._last_s, now_s, self._after, before):
            self._add(part, seconds)
        self._between = []
        self._last_s = now_s


DATA_WAIT = "data wait"
Seen = tuple[str, float, float]
"""An operator between two phases: its kind, its start and its end."""


def divided(
    seen: Sequence[Seen], start_s: float, end_s: float, after: str, before: str
) -> list[tuple[str, float]]:
    """The parts of a stretch between two phases, from the operators in it, in their order.

    Between backward and optimizer it is clipping. Elsewhere operators make a batch, or something is
    read ("sync"). Where the last of them makes a batch, all is data up to it, from the start on or
    from the first operator after a value was read. Where the last of them reads a value, all is
    logging. The rest is Python.

    >>> divided([("data", 2.0, 3.0)], 0.0, 4.0, "forward", "backward")
    [('data', 3.0), ('dispatch', 1.0)]
    >>> divided([("sync", 1.0, 1.5)], 0.0, 4.0, "optimizer", "forward")
    [('logging', 4.0)]
    >>> divided([("sync", 1.0, 1.5), ("data", 2.0, 3.0)], 0.0, 3.0, "optimizer", "forward")
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
            parts.append((DATA if kind == DATA_WAIT else kind, until_s - since_s))
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
    begin_s, last_s = start_s, seen[-1][2]
    if seen[0][0] == "sync":
        begin_s = next(since_s for kind, since_s, _ in seen if kind == DATA)
    return [(LOGGING, begin_s - start_s), (DATA, last_s - begin_s), (PYTHON, end_s - last_s)]


class _Between(DispatchCounter):
    """Sees the operators between the parts, and nothing within them."""

    def __init__(self, clock: PhaseClock) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._clock = clock
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
                self._clock.called(self.call_since_s)
                self.call_since_s = None

    def __torch_dispatch__(
        self, func: Any, types: object, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        since_s = clock_s()
        out = func(*args, **(kwargs or {}))
        if self._is_open and not self._clock._stack:
            self._clock.operator(_kind(func, args), since_s)
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


def _around_compiled_modules(clock: PhaseClock) -> Callable[[], None]:
    """A compiled module's call is its forward; a hook would make torch compile it again."""
    from torch._dynamo.eval_frame import OptimizedModule

    original = OptimizedModule.__call__

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        clock.enter(FORWARD)
        try:
            return original(self, *args, **kwargs)
        finally:
            clock.leave(FORWARD)

    OptimizedModule.__call__ = call  # type: ignore[method-assign]

    def restore() -> None:
        OptimizedModule.__call__ = original  # type: ignore[method-assign]

    return restore
