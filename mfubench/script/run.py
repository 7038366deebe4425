"""One measured training run, from before its first line to its record."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mfubench.script.recorder import NEVER, Recorder
from mfubench.script.signals import Signals, after_import
from mfubench.script.steps import Steps, boundary_optimizer, find_steps, warmup_length

if TYPE_CHECKING:
    from mfubench.script.count import StepCounter
    from mfubench.script.phases import PhaseClock
    from mfubench.script.tally import Tally

COUNT_FROM = (1, 4, 9, 19, 39)
"""Steps after which FLOPs are counted, until two counts agree: the first early enough for a script
of three steps, the others after compilation has settled."""


class EnoughSteps(SystemExit):
    """Raised inside the script when `--steps` have been measured; it ends with status 0."""

    def __init__(self) -> None:
        super().__init__(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """The FLOPs of one step, and between which rows it lies."""

    first_row: int
    last_row: int
    tally: Tally


@dataclass(slots=True)
class Found:
    """What is left when the run is over."""

    steps: Steps
    rounds_s: list[float] = field(default_factory=list)
    """The measured steps: without warm-up, and without those in which FLOPs were counted."""
    warmup_s: list[float] = field(default_factory=list)
    counts: list[Count] = field(default_factory=list)
    wants_phases: bool = False
    phases: PhaseClock | None = None
    """The clock of the profiled steps, where a breakdown was asked for."""
    beside_phases_s: list[float] = field(default_factory=list)
    """The plain steps between those."""


class TrainingRun:
    """Watches the training that happens in this process between `start` and `stop`."""

    def __init__(
        self,
        *,
        steps: int | None = None,
        breakdown: bool = False,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.recorder = Recorder()
        self.steps_wanted = steps
        self.memory_before_bytes: int | None = None
        self.started_at_s = time.time()
        self._say = say
        self._signals = Signals(self.recorder)
        self._undo: list[Callable[[], None]] = []
        self._counter: StepCounter | None = None
        self._counting_which = 0
        self._counting_from = 0
        self._counts: list[Count] = []
        self._to_count = list(COUNT_FROM)
        self._asked_for_phases = self._wants_phases = breakdown
        self._phases: PhaseClock | None = None
        self._phased_from: list[int] = []
        self._check_end_at = NEVER if steps is None else steps
        self._found: Found | None = None

    def start(self) -> None:
        """Watch, from torch's import on where it is not imported yet."""
        self._undo.append(after_import("torch._inductor.compile_fx", self._count_graphs))
        self._signals.attach_when_imported(self._torch_is_here)

    def _torch_is_here(self) -> None:
        self.memory_before_bytes = memory_bytes("VmRSS")
        self.recorder.on_alarm = self._alarm
        self._set_alarm()

    def _count_graphs(self) -> None:
        from mfubench.script.graphs import count_at_compile_time

        self._undo.append(count_at_compile_time())

    @property
    def is_ours(self) -> bool:
        """False in a process that the script forked."""
        return os.getpid() == self.recorder.process

    # --- while it runs ---------------------------------------------------------------------------

    def _set_alarm(self) -> None:
        next_count = self._to_count[0] if self._to_count else NEVER
        if not self._to_count and self._wants_phases:
            next_count = 0
        self.recorder.alarm = min(next_count, self._check_end_at)

    def _alarm(self, which: int) -> None:
        """At the end of a step, when something is due. Trouble of ours is never the script's."""
        try:
            self._due(which)
        except Exception as error:
            self.recorder.failed(error)
            self.recorder.alarm = NEVER

    def _due(self, which: int) -> None:
        recorder = self.recorder
        if self._counter is not None:
            if which == self._counting_which:
                self._end_count()
            return
        if self._wants_phases and not self._to_count:
            if which == self._counting_which:
                self._phase_alarm()
            return
        if self._to_count and recorder.steps >= self._to_count[0]:
            chosen = boundary_optimizer(recorder.rows.column("which"))
            if which == chosen:
                self._begin_count(which)
            if chosen is not None:
                return
            self._to_count[0] += 1  # no order yet: look again at the next step
        if recorder.steps >= self._check_end_at:
            self._end_if_enough()
        self._set_alarm()

    def _begin_count(self, which: int) -> None:
        from mfubench.script.count import StepCounter

        self._counting_which = which
        self._counting_from = len(self.recorder.rows) - 1
        self._counter = StepCounter(self.recorder)
        self._counter.start()
        self.recorder.alarm = 0

    def _end_count(self) -> None:
        assert self._counter is not None
        if not self._counter.stop():
            return  # at the next step, then
        count = Count(
            first_row=self._counting_from,
            last_row=len(self.recorder.rows) - 1,
            tally=self._counter.tally,
        )
        self._counter = None
        self._to_count.pop(0)
        if self._counts and self._counts[-1].tally.model_flops == count.tally.model_flops:
            self._to_count.clear()
        if not self._counts:
            names = " and ".join(dict.fromkeys(self.recorder.rows.names)) or "the loop"
            self._say(f"a step of {names} was found; timing goes on until the script ends")
        self._counts.append(count)
        if self.recorder.steps >= self._check_end_at:
            self._end_if_enough()
        self._set_alarm()

    def _phase_alarm(self) -> None:
        """Every other step is timed part by part, until there are enough: the plain ones between
        them say how fast the machine was then."""
        from mfubench.script.phases import PROFILED_STEPS, PhaseClock

        row = len(self.recorder.rows) - 1
        if self._phases is None or not self._phases.is_running:
            self._phases = self._phases or PhaseClock(self.recorder)
            self._phases.start()
            self._phased_from.append(row)
            return
        self._phases.stop()
        if len(self._phases.steps_s) >= PROFILED_STEPS:
            self._wants_phases = False
            self._set_alarm()

    def _end_if_enough(self) -> None:
        assert self.steps_wanted is not None
        missing = self.steps_wanted - len(self._look().rounds_s)
        if missing <= 0:
            raise EnoughSteps
        self._check_end_at = self.recorder.steps + missing

    # --- afterwards ------------------------------------------------------------------------------

    def stop(self) -> Found:
        """Watch no more; what was found. May be called twice."""
        if self._found is None:
            if self._counter is not None:
                self._counter.stop()
            if self._phases is not None and self._phases.is_running:
                self._phases.stop()
                self._phases.steps_s.pop()  # it was not a whole step
            self._signals.detach()
            for undo in self._undo:
                undo()
            self.recorder.rows.backwards_without_step = self.recorder.backwards
            self.recorder.finished()
            self._found = self._look()
        return self._found

    def _look(self) -> Found:
        steps = find_steps(self.recorder.rows)
        found = Found(steps=steps)
        rows = {(step.first_row, step.last_row) for step in steps.steps}
        found.counts = [c for c in self._counts if (c.first_row, c.last_row) in rows]
        counted = {(c.first_row, c.last_row) for c in self._counts}
        plain = [
            s
            for s in steps.steps
            if (s.first_row, s.last_row) not in counted and s.first_row not in self._phased_from
        ]
        found.phases, found.wants_phases = self._phases, self._asked_for_phases
        if self._phased_from:
            first, last = self._phased_from[0], self._phased_from[-1]
            found.beside_phases_s = [s.seconds for s in plain if first <= s.first_row <= last + 1]
        times_s = [s.seconds for s in plain]
        warm = warmup_length(times_s)
        found.warmup_s, found.rounds_s = times_s[:warm], times_s[warm:]
        return found


def memory_bytes(name: str) -> int | None:
    """VmRSS or VmHWM of this process on Linux, which writes them in kB of 1024 bytes."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:  # noqa: PTH123
            for line in file:
                if line.startswith(name + ":"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return None
    return None


def peak_memory_bytes(run: TrainingRun, device: Any) -> int | None:
    """On an accelerator the most that tensors held; on a CPU by how much the process grew after
    torch was imported."""
    import torch

    if device is not None and device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    highest = memory_bytes("VmHWM")
    if highest is None or run.memory_before_bytes is None:
        return None
    return max(0, highest - run.memory_before_bytes)
