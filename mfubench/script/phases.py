"""Where the time of a step goes, for `--breakdown`: a few steps on a clock that knows which part of
the loop runs.

Forward, backward and optimizer are seen by hooks and run undisturbed. Between them, in every other
timed step, the operators that the loop itself calls are watched: they tell a batch that is made
from a loss that is read. Watching takes time, so those steps give shares only, and the others the
seconds that are shared out. GPUs have a profile instead (`device_profile`); any other accelerator
is waited for at every border, so that a part's time is its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from mfubench.script import graphs
from mfubench.script.ddp import DDPCounters
from mfubench.script.device_clock import wait_for
from mfubench.script.pauses import clock_s
from mfubench.script.recorder import Recorder
from mfubench.script.stretches import (
    BACKWARD,
    CLIP,
    COMMUNICATION,
    DATA,
    DATA_WAIT,
    FORWARD,
    LOGGING,
    OPTIMIZER,
    PAUSE,
    PYTHON,
    StretchWatch,
    divided,
)

if TYPE_CHECKING:
    from mfubench.script.device_profile import DeviceProfile
    from mfubench.script.live_trace import LiveTrace

__all__ = [
    "BACKWARD",
    "CLIP",
    "COMMUNICATION",
    "DATA",
    "FORWARD",
    "LOGGING",
    "OPTIMIZER",
    "PAUSE",
    "PYTHON",
    "PhaseClock",
]

PROFILED_STEPS = 24

Key = tuple[str, str]
"""A stretch between two phases, empty for the phases themselves, and a part; an empty part is time
that was not watched."""


class PhaseClock:
    """Adds up the time of each part of the loop, step by step, between `start` and `stop`."""

    def __init__(self, recorder: Recorder) -> None:
        self.steps_s: list[dict[Key, float]] = []
        """Of each timed step, the seconds of its parts; every other one was watched."""
        self.rows: list[int] = []
        """The rows of the recorder at whose ends a timed step began."""
        self.is_running = False
        self._recorder = recorder
        self._stack: list[str] = []
        self._last_s = 0.0
        self._after = ""
        """The part that ended last."""
        self._known: list[tuple[str, float, float]] = []
        self._watch = StretchWatch(self._now)
        self._undo: list[Callable[[], object]] = []
        self._device = recorder.device
        self._ddp = DDPCounters()

    def step_ended(self, row: int) -> bool:
        """At the end of a step: every other one is timed part by part, until there are enough (then
        True). The plain ones between them say how fast the machine was then."""
        if self.is_running:
            self.stop()
            self._ddp.step_ended()
            is_done = len(self.steps_s) >= PROFILED_STEPS
            if is_done:
                self._ddp.stop()
            return is_done
        self._ddp.start()
        self.rows.append(row)
        self.start()
        return False

    def interrupt(self) -> None:
        """The script is over: a step that was not whole is dropped."""
        if self.is_running:
            self.stop()
            self.steps_s.pop()
        self._ddp.stop()

    def give_way(self) -> None:
        """The script starts a profiler: what watches would be in its events."""
        self.interrupt()

    def start(self) -> None:
        """At the end of a step."""
        self.is_running = True
        self._stack.clear()  # an interrupt that the script caught left a module that way
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
        self._open()

    def _open(self) -> None:
        if len(self.steps_s) % 2 == 0:
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
        wait_for(self._device)
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
            self._open()

    def known(self, part: str, since_s: float) -> None:
        """A stretch outside of the parts whose meaning is known: a loader's wait, a pause."""
        if not self._stack:
            self._known.append((part, since_s, clock_s()))

    def _add(self, part: str, seconds: float, stretch: str = "") -> None:
        step = self.steps_s[-1]
        step[stretch, part] = step.get((stretch, part), 0.0) + seconds

    def _settle(self, now_s: float, before: str) -> None:
        """Give the time between two parts its meaning, as far as it is seen in this step."""
        self._watch.called(whole=False)
        for part, since_s, until_s in self._known:
            self._add(part, until_s - since_s)
        stretch = f"{self._after} to {before}"
        if len(self.steps_s) % 2:
            known_s = sum(until_s - since_s for _, since_s, until_s in self._known)
            self._add("", now_s - self._last_s - known_s, stretch)
        else:
            known = self._known
            own = [e for e in self._watch.seen if not any(s <= e[1] < u for _, s, u in known)]
            seen = sorted([*own, *known], key=lambda entry: entry[1])
            for part, seconds in divided(seen, self._last_s, now_s, self._after, before):
                if part not in (DATA_WAIT, PAUSE):
                    self._add(part, seconds, stretch)
        self._known, self._watch.seen = [], []
        self._last_s = now_s

    def typical_s(self) -> dict[str, float]:
        """Seconds per step by part: the mean over the unwatched steps whose length is in the middle
        half, the time between phases shared out as in the watched ones. Empty without any."""
        # A step with a pause in it is left out: evaluation runs forward too.
        steps = [
            (number, step)
            for number, step in enumerate(self.steps_s)
            if all(part != PAUSE for _, part in step)
        ]
        plain = [step for number, step in steps if number % 2 == 0]
        plain.sort(key=lambda step: sum(step.values()))
        quarter = len(plain) // 4
        middle = plain[quarter : len(plain) - quarter]
        shares: dict[str, dict[str, float]] = {}
        for step in [step for number, step in steps if number % 2]:
            for (stretch, part), seconds in step.items():
                found = shares.setdefault(stretch, {})
                found[part] = found.get(part, 0.0) + seconds
        parts: dict[str, float] = {}
        for step in middle:
            for (stretch, part), seconds in step.items():
                found = {part: 1.0} if part else shares.get(stretch) or {PYTHON: 1.0}
                whole = sum(found.values()) or 1.0
                for name, share in found.items():
                    name_ = DATA if name == DATA_WAIT else name
                    parts[name_] = parts.get(name_, 0.0) + seconds * share / whole / len(middle)
        exposed_s = min(self._ddp.exposed_s or 0.0, parts.get(BACKWARD, 0.0))
        if exposed_s:
            parts[BACKWARD] -= exposed_s
            parts[COMMUNICATION] = parts.get(COMMUNICATION, 0.0) + exposed_s
        return parts

    @property
    def communication_hidden_s(self) -> float | None:
        """Seconds per step of DDP's messages beside the backward pass; None without DDP."""
        return self._ddp.hidden_s


def clock_for(recorder: Recorder, trace: LiveTrace | None) -> PhaseClock | DeviceProfile:
    """What times the parts of a step on the device that the script trains on. A trace that the user
    asked for is the one that a GPU's parts are taken from."""
    if recorder.device is None or recorder.device.type not in ("cuda", "xpu"):
        return PhaseClock(recorder)
    from mfubench.script.device_profile import DeviceProfile

    return DeviceProfile(recorder.device, trace)


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
