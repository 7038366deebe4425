"""One measured training run, from before its first line to its record."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mfubench.script.found import Count, Found
from mfubench.script.journal import next_after_s
from mfubench.script.live_trace import LiveTrace
from mfubench.script.memory import process_bytes
from mfubench.script.own_profiler import WHY, OwnProfiler
from mfubench.script.pauses import clock_s
from mfubench.script.recorder import NEVER, Recorder
from mfubench.script.signals import Signals, after_import, in_forked_children
from mfubench.script.steps import Rows, boundary_optimizer, find_steps, warmup_length

if TYPE_CHECKING:
    from mfubench.script.count import StepCounter
    from mfubench.script.device_profile import DeviceProfile
    from mfubench.script.operators_seen import OperatorsSeen
    from mfubench.script.phases import PhaseClock

COUNT_FROM = (1, 4, 9, 19, 39)
"""Steps after which FLOPs are counted, until two counts agree: the first early enough for a script
of three steps, the others after compilation has settled."""


class EnoughSteps(SystemExit):
    """Raised inside the script when `--steps` have been measured; it ends with status 0."""

    def __init__(self) -> None:
        super().__init__(0)


class TrainingRun:
    """Watches the training that happens in this process between `start` and `stop`."""

    def __init__(
        self,
        *,
        steps: int | None = None,
        breakdown: bool = False,
        save_trace: Path | None = None,
        count: bool = False,
        say: Callable[[str], None] = lambda text: None,
        keep: Callable[[TrainingRun, Found], None] | None = None,
    ) -> None:
        """`keep` writes down what is found so far; it is called now and then. With `count` the
        script ends when its operators are counted, and nothing else is found."""
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
        self._only_counts = count
        self.operators: OperatorsSeen | None = None
        """Of the last count, where they were asked for."""
        self._to_count = list(COUNT_FROM)
        self._asked_for_breakdown = self._wants_breakdown = breakdown
        self._clock: PhaseClock | DeviceProfile | None = None
        self.trace = None if save_trace is None else LiveTrace(save_trace)
        self._check_end_at = NEVER if steps is None else steps
        self._found: Found | None = None
        self._keep = keep
        self._not_alone_at: list[int] = []
        """The rows after which something of ours ran that is part of no step."""
        self._own_profiler = OwnProfiler(self._give_way)
        self._has_waited = False

    def start(self) -> None:
        """Watch, from torch's import on where it is not imported yet."""
        self._undo.append(after_import("torch._inductor.compile_fx", self._count_graphs))
        self._signals.attach_when_imported(self._torch_is_here)
        in_forked_children(weakref.WeakMethod(self._forked))

    def _torch_is_here(self) -> None:
        self.memory_before_bytes = process_bytes("VmRSS")
        self._undo.append(self._own_profiler.watch())
        self.recorder.on_alarm = self._alarm
        self._set_alarm()
        if self._keep is not None:
            self.recorder.alarm_at_s = clock_s() + next_after_s(0)

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
        if not self._to_count and (self._wants_breakdown or self._wants_trace):
            next_count = 0
        self.recorder.alarm = min(next_count, self._check_end_at)

    def _alarm(self, which: int) -> None:
        """At the end of a step, when something is due. Trouble of ours is never the script's."""
        recorder = self.recorder
        try:
            if recorder.steps >= recorder.alarm:
                self._due(which)
            if clock_s() >= recorder.alarm_at_s and not self._is_looking:
                self._keep_now()
        except Exception as error:
            recorder.failed(error)
            recorder.alarm = recorder.alarm_at_s = NEVER

    @property
    def _is_looking(self) -> bool:
        """Whether a step is being counted or timed part by part."""
        return self._counter is not None or (self._clock is not None and self._clock.is_running)

    @property
    def _wants_trace(self) -> bool:
        return self.trace is not None and not self.trace.is_done

    def _keep_now(self) -> None:
        assert self._keep is not None
        self._not_alone_at.append(len(self.recorder.rows) - 1)
        self._keep(self, self.look())
        lasted_s = clock_s() - self.recorder.started_s
        self.recorder.alarm_at_s = clock_s() + next_after_s(lasted_s)

    def _due(self, which: int) -> None:
        recorder = self.recorder
        if self._counter is not None:
            if which == self._counting_which:
                self._end_count()
            return
        if self._own_profiler.is_here:
            self._has_waited = True
        elif self._wants_breakdown and not self._to_count:
            if which == self._counting_which:
                self._clock_alarm()
            return
        elif self._wants_trace and not self._to_count:
            assert self.trace is not None
            if which == self._counting_which:
                self.trace.step_ended(len(recorder.rows) - 1, recorder.device)
                self._set_alarm()
            return
        elif self._to_count and recorder.steps >= self._to_count[0]:
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
        seen = None
        if self._only_counts:
            from mfubench.script.operators_seen import OperatorsSeen

            seen = OperatorsSeen()
        self._counter = StepCounter(self.recorder, seen)
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
        self.operators = self._counter.seen
        self._counter = None
        self._to_count.pop(0)
        if self._counts and self._counts[-1].tally.model_flops == count.tally.model_flops:
            self._to_count.clear()
        if not self._counts and not self._only_counts:
            names = " and ".join(dict.fromkeys(self.recorder.rows.names)) or "the loop"
            self._say(f"a step of {names} was found; timing goes on until the script ends")
        self._counts.append(count)
        if self._only_counts and not self._to_count:
            raise EnoughSteps
        if self.recorder.steps >= self._check_end_at:
            self._end_if_enough()
        self._set_alarm()

    def _clock_alarm(self) -> None:
        """A breakdown wants the ends of some steps."""
        from mfubench.script.phases import clock_for

        row = len(self.recorder.rows) - 1
        if self._clock is None:
            self._clock = clock_for(self.recorder, self.trace)
        if self._clock.step_ended(row):
            self._wants_breakdown = False
            self._set_alarm()

    def _end_if_enough(self) -> None:
        assert self.steps_wanted is not None
        missing = self.steps_wanted - len(self.look().rounds_s)
        if missing <= 0:
            raise EnoughSteps
        self._check_end_at = self.recorder.steps + missing

    def _give_way(self) -> None:
        """The script is about to start a profiler: nothing of ours may be in its events."""
        self._has_waited = True
        try:
            if self._counter is not None and self._counter.stop():
                self._counter = None
                self._not_alone_at.append(self._counting_from)
            if self._clock is not None and self._clock.is_running:
                self._clock.give_way()
            elif self.trace is not None:
                self.trace.give_way()
            self._set_alarm()
        except Exception as error:
            self.recorder.failed(error)

    def _forked(self) -> None:
        """In a child that the script forked nobody watches: its steps are not those of the run."""
        if self._found is None:
            self.recorder.alarm = self.recorder.alarm_at_s = NEVER
            self._take_away(stop_trace=False)

    # --- afterwards ------------------------------------------------------------------------------

    @property
    def left_out(self) -> list[str]:
        """What there was no step for in which the script had no profiler of its own."""
        if not self._has_waited:
            return []
        if self.trace is not None and self.trace.problem is not None:
            self.trace.problem = WHY
        missing = {"FLOPs": not self._counts, "the breakdown": self._wants_breakdown}
        return [name for name, is_missing in missing.items() if is_missing]

    def stop(self) -> Found:
        """Watch no more; what was found. May be called twice."""
        if self._found is None:
            self._take_away()
            self.recorder.rows.backwards_without_step = self.recorder.backwards
            self.recorder.rows.backwards_after_last = self.recorder.backwards_since_step
            self.recorder.finished()
            self._found = self._look(self.recorder.rows)
        return self._found

    def _take_away(self, *, stop_trace: bool = True) -> None:
        if self._counter is not None:
            self._counter.stop()
        if stop_trace:  # a forked child has the parent's profiler, which is none there
            if self._clock is not None:
                self._clock.interrupt()
            if self.trace is not None:
                self.trace.stop()
        elif self._clock is not None:
            self.recorder.phases = None
        self._signals.detach()
        while self._undo:
            self._undo.pop()()

    def look(self) -> Found:
        """What is found so far, in a run that goes on: no device is waited for."""
        found = self._look(self.recorder.so_far())
        found.is_over = False
        return found

    def _look(self, noted: Rows) -> Found:
        steps = find_steps(noted)
        found = Found(steps=steps, left_out=self.left_out)
        # Forward passes of evaluation that nobody announced were counted as training.
        rows = {(s.first_row, s.last_row) for s in steps.steps if not s.has_quiet_evaluation}
        found.counts = [c for c in self._counts if (c.first_row, c.last_row) in rows]
        counted = {(c.first_row, c.last_row) for c in self._counts}
        timed_from = self._clock.rows if self._clock is not None else []
        traced = self.trace.rows if self.trace is not None else []
        plain = [
            s
            for s in steps.steps
            if (s.first_row, s.last_row) not in counted
            and s.first_row not in timed_from
            and not any(s.first_row <= row < s.last_row for row in (*self._not_alone_at, *traced))
        ]
        found.clock, found.wants_breakdown = self._clock, self._asked_for_breakdown
        if timed_from:
            first, last = timed_from[0], timed_from[-1]
            found.beside_clock_s = [s.seconds for s in plain if first <= s.first_row <= last + 1]
        times_s = [s.seconds for s in plain]
        warm = warmup_length(times_s)
        found.warmup_s, found.rounds_s = times_s[:warm], times_s[warm:]
        return found
