"""A few of a script's steps under torch's profiler, for `--breakdown` on a GPU, and their account.

A clock on the host that waits for the device at every border would hide what the device does behind
it. So the profiler records these steps and `mfubench trace`'s account is made of them: the very
one that the saved trace gives.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mfubench.analysis import components
from mfubench.analysis.account import Account, closed
from mfubench.results.bars import (
    COMPUTE,
    DISPATCH_BOUND,
    INPUT,
    MEMORY,
    OUTSIDE,
    SYNC,
    UNEXPLAINED,
    Bar,
)
from mfubench.script.live_trace import LiveTrace
from mfubench.trace import bars as trace_bars
from mfubench.trace import idle
from mfubench.trace.build import trace_account
from mfubench.trace.document import Step
from mfubench.trace.read import TraceError
from mfubench.trace.text import bar_label

ATTENTION = "attention kernels"
"""In the suite's own account the bar `attention` is what lies above its FLOPs at the ceiling."""


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


def account_of(
    step: Step,
    outside_s: dict[str, float],
    *,
    step_s: float,
    ceiling_flops_per_s: float | None,
) -> Account:
    """Bars that add up to `step_s`, a plain step and its share of the pauses `outside_s`.

    Kernels are taken as they were profiled: a profiler slows the host, not the device. What they
    leave of the plain step is idle, for the reasons and in the proportions of the profiled one.

    A profiled step of 12 ms with 6 ms of kernels, whose plain step takes 10 ms:

    >>> from mfubench.trace.document import Bar as TraceBar
    >>> step = Step(name="5", rank=None, step_s=0.012, device_busy_s=0.006, device_sum_s=0.006,
    ...             device_idle_s=0.006, unlinked_s=0.0, communication_s=0.0,
    ...             communication_exposed_s=0.0, operators=9, launches=9, graph_launches=0,
    ...             account=[TraceBar(name="gemm", seconds=0.006),
    ...                      TraceBar(name="idle: host had not launched", seconds=0.006)])
    >>> account = account_of(step, {}, step_s=0.010, ceiling_flops_per_s=None)
    >>> {bar.name: round(bar.seconds, 6) for bar in account.bars}
    {'GEMMs and convolutions': 0.006, 'idle: host had not launched': 0.004, 'unexplained': 0.0}
    """
    plain_s = step_s - sum(outside_s.values())
    profiled_idle_s = sum(bar.seconds for bar in step.account if bar.name in idle.REASONS)
    busy_s = sum(bar.seconds for bar in step.account) - profiled_idle_s
    scale = max(0.0, plain_s - busy_s) / profiled_idle_s if profiled_idle_s else 0.0
    seconds = {
        bar.name: bar.seconds * (scale if bar.name in idle.REASONS else 1.0) for bar in step.account
    }
    floors_s = _floors_s(step, ceiling_flops_per_s)
    bars = []
    for name, taken_s in seconds.items():
        is_idle = name in idle.REASONS
        bars.append(
            Bar(
                name=ATTENTION if name == components.ATTENTION else bar_label(name),
                seconds=taken_s,
                floor_s=0.0 if is_idle else floors_s.get(name),
                source="what the kernels leave of a plain step" if is_idle else "the profiled step",
            )
        )
    for name, spent_s in outside_s.items():
        bars.append(
            Bar(
                name=name,
                seconds=spent_s,
                floor_s=None,
                source="timed in the whole run, amortised",
            )
        )
    rest_s = step_s - sum(bar.seconds for bar in bars)
    source = "the step less all of the above"
    bars.append(Bar(name=UNEXPLAINED, seconds=rest_s, floor_s=None, source=source))

    def together(*names: str) -> float:
        return sum(seconds.get(name, 0.0) for name in names)

    compute_s = together(components.GEMM, components.ATTENTION)
    waited_s = together(idle.SYNC, idle.RANKS, trace_bars.COMMUNICATION, trace_bars.HOST_COPIES)
    unknown_s = together(trace_bars.UNLINKED, idle.LOST, idle.UNKNOWN)
    launch_s = together(idle.HOST, idle.LAUNCHED, idle.GRAPH)
    input_s = together(idle.DATA)
    known_s = compute_s + waited_s + unknown_s + launch_s + input_s
    groups = {
        COMPUTE: compute_s,
        MEMORY: sum(seconds.values()) - known_s,
        DISPATCH_BOUND: launch_s,
        INPUT: input_s,
        SYNC: waited_s,
        OUTSIDE: sum(outside_s.values()),
    }
    return closed(step_s, bars, groups)


def _floors_s(step: Step, ceiling_flops_per_s: float | None) -> dict[str, float]:
    """What the FLOPs of the products and of attention take at the measured ceiling, where the sizes
    of all of them were recorded."""
    counted = sum(gemm.flops for gemm in step.gemms)  # a step lists its longest products only
    whole = step.flops or 0.0
    if not ceiling_flops_per_s or step.counted_s < 0.999 * step.countable_s:
        return {}
    if counted < 0.999 * whole:
        return {}
    attention = sum(gemm.flops for gemm in step.gemms if "attention" in gemm.operator)
    return {
        components.GEMM: (whole - attention) / ceiling_flops_per_s,
        components.ATTENTION: attention / ceiling_flops_per_s,
    }
