"""A few of a script's steps under torch's profiler, for `--breakdown` on a GPU.

A clock on the host that waits for the device at every border would hide what the device does behind
it. So the profiler records these steps and `mfubench trace`'s account is made of them: the very
one that the saved trace gives.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mfubench.script.live_trace import LiveTrace
from mfubench.trace.build import trace_account
from mfubench.trace.document import Step
from mfubench.trace.read import TraceError


class DeviceProfile:
    """The trace of a few steps on a GPU, in place of a clock."""

    def __init__(self, device: Any, trace: LiveTrace | None = None) -> None:
        """`trace` is the one that the user asked for, if any; else it is written for this alone."""
        self._device = device
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        if trace is None:
            self._folder = tempfile.TemporaryDirectory(prefix="mfubench-")
            trace = LiveTrace(Path(self._folder.name, "steps.json"))
        self._trace = trace
        self._step: Step | None = None

    @property
    def is_running(self) -> bool:
        return self._trace.is_running

    @property
    def rows(self) -> list[int]:
        """The rows of the recorder at whose ends a traced step began, and the last one's end:
        writing the trace falls into the step after it."""
        return self._trace.rows

    def step_ended(self, row: int) -> bool:
        """At the end of a step. True once the steps are recorded, or cannot be."""
        self._trace.step_ended(row, self._device)
        return self._trace.is_done

    def give_way(self) -> None:
        """The script starts a profiler of its own."""
        self._trace.give_way()

    def interrupt(self) -> None:
        """The script is over."""
        self._trace.stop()

    def typical_step(self) -> Step:
        """The account of the median step. Raises TraceError where there is no trace, or none that
        can be accounted for. The trace is read once, and removed unless the user asked for it."""
        if self._step is None:
            if self._trace.problem is not None:
                raise TraceError(self._trace.problem)
            account = trace_account([self._trace.path])
            (rank,) = account.ranks
            self._step = next(step for step in account.steps if step.name == rank.median_step)
            self.close()
        return self._step

    def close(self) -> None:
        """Remove the trace, unless the user asked for it."""
        if self._folder is not None:
            self._folder.cleanup()
