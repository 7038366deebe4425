"""A training script as a side that takes turns: it is held at the end of a step until it is told
how many steps to do next.

The first request names the script, and is answered when its steps have settled:

    {"script": …, "is_module": …, "arguments": […], "since_s": t}   →  start-up, step_s, losses, …
        "not_from": a folder that none of its modules may come from
        "adjust": settings that are turned from outside, see `adjust.py`
        "waits": as soon as torch is loaded answer {"loaded": true}, and wait for {"go": true}
    {"turn": n}   →  the mean seconds of n steps, and their losses
    {"count": true}   →  peak memory, compiled graphs, files that were opened for writing

A script that ends answers {"ended": its steps, "reason": why, or null after a clean end}, or an
error where nothing can be measured. Evaluation and checkpoints are no part of `step_s`. While it is
held, the workers of its loader are stopped too: else they would compute in the turns of the others,
and have more batches ready than they have in a run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from mfubench.arguments import UserError
from mfubench.pairs.child import ENDED, LOADED, Answer, Parent, Request
from mfubench.pairs.forked import Loaded
from mfubench.script.adjust import Adjustments
from mfubench.script.launch import Ending, Target, refuse_missing
from mfubench.script.launch import run as run_target
from mfubench.script.loss_trace import LossTrace
from mfubench.script.memory import own_bytes
from mfubench.script.pauses import clock_s
from mfubench.script.recorder import Recorder
from mfubench.script.run import EnoughSteps
from mfubench.script.side_facts import compile_s, graphs, strange_modules
from mfubench.script.signals import Signals
from mfubench.script.steps import boundary_optimizer, find_steps, pauses_by_row
from mfubench.script.writes import Writes

LEAST_STEPS, MOST_STEPS = 6, 24
"""Of the start: until three steps take as long as the three before, within 10 %."""
SLOW_START_S = 2.0
"""Of slow steps, three are enough when they have taken this long together."""
SETTLED = 0.10
COMPILING = 5.0
"""A step of the start that takes so many times the usual one did more than train."""
MOST_DISORDER = 200
"""Optimizer steps after which no order in them is none."""


class HeldScript:
    """What is seen of the script in this process, and the turns that it takes."""

    def __init__(self, parent: Parent, request: Request, loaded: Loaded) -> None:
        """What was loaded before a fork counts as if the fork had loaded it."""
        self._parent = parent
        self._since_s: float = request["since_s"] - loaded.seconds
        self._loaded = loaded
        self._environment = dict(os.environ)
        self._may_fork = False
        self._not_from: str | None = request.get("not_from")
        self._waits = bool(request.get("waits"))
        self._adjustments = Adjustments(request.get("adjust") or {})
        self._recorder = Recorder()
        self._signals = Signals(self._recorder)
        self._losses = LossTrace()
        self._writes = Writes()
        self._memory_before: int | None = None
        self._boundary: int | None = None
        self._start_s: list[float] = []
        """Seconds of the steps after the first one, until the script is held for the first time."""
        self._row_s = 0.0
        self._is_started = False
        self._wanted = self._done = self._first_row = 0
        self._turn_since_s = 0.0
        self.has_request = True

    def attach(self) -> None:
        """Watch, from torch's import on."""
        self._adjustments.before_torch()
        self._recorder.on_alarm = self._row_noted
        self._recorder.on_loss = self._loss_noted
        self._recorder.alarm = 0
        self._writes.watch()
        self._signals.attach_when_imported(self._torch_is_here)

    def _torch_is_here(self) -> None:
        # What torch reads as it is loaded must be there before a process is forked.
        self._may_fork = dict(os.environ) == self._environment
        before = own_bytes("VmRSS")
        self._memory_before = None if before is None else before - self._loaded.compiler_bytes
        self._adjustments.torch_is_here()
        self._writes.watch_saves(self._signals)
        if self._waits and os.getpid() == self._recorder.process:
            self._wait_for_the_others()

    def _wait_for_the_others(self) -> None:
        """Until no other side trains. The wait is no part of the start-up."""
        since_s = time.monotonic()
        self._parent.reply({LOADED: True})
        self.has_request = False
        if self._parent.next_request() is None:
            raise EnoughSteps
        self.has_request = True
        self._since_s += time.monotonic() - since_s

    def _loss_noted(self, root: Any) -> None:
        self._adjustments.backward_starts()
        self._losses.add(root)

    # --- at the end of an optimizer step ----------------------------------------------------------

    def _row_noted(self, which: int) -> None:
        recorder = self._recorder
        if os.getpid() != recorder.process or threading.get_ident() != recorder.thread:
            return  # a child that trains, or a thread: not what we hold
        try:
            self._losses.row_ends(which)
            self._adjustments.step_ended()
            if self._is_started:
                self._turn_row(which)
            else:
                self._start_row(which)
        except Exception as error:
            self._parent.fail(f"our part failed: {type(error).__name__}: {error}")
            raise

    def _start_row(self, which: int) -> None:
        rows = self._recorder.rows
        boundary = boundary_optimizer(rows.column("which"))
        if boundary is None:
            if len(rows) > MOST_DISORDER:
                self._parent.fail(find_steps(rows).boundary)
                raise EnoughSteps
            return
        if boundary != self._boundary:
            self._boundary = boundary
            self._start_s.clear()
            self._row_s = clock_s()
            return
        if which != boundary:
            return
        self._synchronise()
        now_s = clock_s()
        self._start_s.append(max(1e-9, now_s - self._row_s - self._pauses(len(rows) - 1)))
        self._row_s = now_s
        if self._has_settled():
            if why := strange_modules(self._not_from) or self._adjustments.missing:
                self._parent.fail(why)
                self.has_request = False
                raise EnoughSteps
            self._is_started = True
            so_far_s = time.monotonic() - self._since_s - self._pauses(0)
            self._hold(self._started(so_far_s))

    def _has_settled(self) -> bool:
        times = self._start_s
        if len(times) >= MOST_STEPS - 1:
            return True
        if len(times) < LEAST_STEPS - 1:
            return (
                len(times) >= 3 and sum(times) > SLOW_START_S and _alike(times[-1:], times[-2:-1])
            )
        return _alike(times[-3:], times[-6:-3] or times[:1])

    def _turn_row(self, which: int) -> None:
        if which != self._boundary:
            return
        self._done += 1
        if self._done < self._wanted:
            return
        self._synchronise()
        seconds = clock_s() - self._turn_since_s - self._pauses(self._first_row)
        self._hold({"step_s": max(1e-9, seconds / self._done)})

    def _pauses(self, first_row: int) -> float:
        """Seconds of evaluation and checkpoints in the rows from this one on."""
        rows = len(self._recorder.rows)
        by_row = pauses_by_row(self._recorder.pauses.all, rows)
        return sum(p.seconds for row in range(first_row, rows) for p in by_row[row])

    # --- held -------------------------------------------------------------------------------------

    def _hold(self, answer: Answer) -> None:
        """Answer, and stay here until there is a turn to take."""
        assert self._boundary is not None
        answer["losses"] = self._losses.taken(self._boundary)
        answer["tokens_per_step"] = self._losses.tokens_per_step
        self._signal_workers("SIGSTOP")
        self._parent.reply(answer)
        self.has_request = False
        while (request := self._parent.next_request()) is not None:
            if "turn" in request:
                break
            self._parent.reply(self._counted())
        self._signal_workers("SIGCONT")
        if request is None:
            raise EnoughSteps
        self.has_request = True
        self._wanted, self._done = request["turn"], 0
        self._first_row = len(self._recorder.rows)
        self._turn_since_s = clock_s()

    def _signal_workers(self, name: str) -> None:
        if not hasattr(signal, name):  # on Windows
            return
        number = getattr(signal, name)
        for worker in self._recorder.workers:
            with contextlib.suppress(OSError, AttributeError, TypeError):
                os.kill(worker.pid, number)

    def _synchronise(self) -> None:
        device = self._recorder.device
        if device is not None and device.type != "cpu":
            getattr(sys.modules["torch"], device.type).synchronize()

    # --- answers ----------------------------------------------------------------------------------

    def _started(self, so_far_s: float) -> Answer:
        torch = sys.modules["torch"]
        device = self._recorder.device
        return {
            "start_up_s": start_up_s(so_far_s, self._start_s),
            "step_s": statistics.median(self._start_s[-3:]),
            "steps": len(self._start_s) + 1,
            "compile_s": compile_s(),
            "workers": len(self._recorder.workers),
            "places": self._adjustments.places,
            "may_fork": self._may_fork and device is not None and device.type == "cpu",
            "software": {
                "python": sys.version.split()[0],
                "torch": str(torch.__version__),
                "threads": torch.get_num_threads(),
                "device": None if device is None else device.type,
                "is_compiled": bool(compile_s()),
            },
        }

    def _counted(self) -> Answer:
        device = self._recorder.device
        peak: int | None = None
        if device is not None and device.type == "cuda":
            peak = int(sys.modules["torch"].cuda.max_memory_allocated(device))
        elif (highest := own_bytes("VmHWM")) and self._memory_before is not None:
            peak = max(0, highest - self._memory_before)
        return {"peak_bytes": peak, "graphs": graphs(), "writes": self._writes.paths}

    def script_ended(self, ending: Ending) -> None:
        """Answer what was asked last: the script is over, and how."""
        if not self.has_request:
            return
        reason = ending.reason
        if not self._is_started:
            if reason is None:
                self._parent.fail(self._why_not_started())
            else:
                without = "EOFError" in reason  # input() of a script that has nobody to ask
                self._parent.fail(reason + (" (a side has no standard input)" if without else ""))
            return
        counted = self._counted()
        assert self._boundary is not None
        losses = self._losses.taken(self._boundary)
        self._parent.reply({ENDED: self._done, "reason": reason, "losses": losses, **counted})

    def _why_not_started(self) -> str:
        if "torch" not in sys.modules:
            return "the script ended and never imported torch"
        rows = self._recorder.rows
        rows.backwards_without_step = self._recorder.backwards
        found = find_steps(rows)
        if not found.found:
            return f"no training step was found in it: {found.boundary.removeprefix('not found: ')}"
        return (
            f"it ended after {len(found.steps) + 1} steps; {LEAST_STEPS} and more are needed "
            "before the first turn. Let it train for longer"
        )


def start_up_s(so_far_s: float, later_s: Sequence[float]) -> float:
    """What a start took beyond steady steps, in seconds: of all that is over, pauses apart, what
    came before the second step, and of `later_s`, the steps from the second one on, those that did
    more than train. A slow moment of the machine is no part of it.

    >>> start_up_s(10.0, [0.1, 0.3, 0.1, 0.1])  # one step met a slow moment
    9.3
    >>> start_up_s(13.0, [0.1, 3.1, 0.1, 0.1, 0.1])  # one step compiled for three seconds
    12.4
    """
    usual_s = statistics.median(later_s)
    compiling_s = sum(step_s - usual_s for step_s in later_s if step_s > COMPILING * usual_s)
    return max(0.0, so_far_s - sum(later_s) - usual_s + compiling_s)


def _alike(last: list[float], before: list[float]) -> bool:
    ratio = statistics.median(last) / statistics.median(before)
    return abs(ratio - 1) <= SETTLED


def serve(loaded: Loaded) -> None:
    """Run the script of the first request, and answer; the process ends with it."""
    parent = Parent()
    request = parent.next_request()
    if request is None:
        return
    target = Target(
        name=request["script"],
        is_module=request["is_module"],
        arguments=tuple(request["arguments"]),
    )
    try:
        refuse_missing(target)
    except UserError as error:
        parent.fail(str(error))
    else:
        held = HeldScript(parent, request, loaded)
        held.attach()
        held.script_ended(run_target(target))
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)  # taking torch apart takes up to a second of a pair
