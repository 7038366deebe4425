"""A training loop and all that a parent may ask of it: one method per request.

A gate asks for more than the times: a control kernel beside each turn, peak memory, compiled
graphs, and costs that its self-test plants as work and memory; nothing sleeps.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mfubench_model
import torch

from mfubench.hardware.devices import Device
from mfubench.measure.configured_loop import ConfiguredLoop
from mfubench.measure.train_step import unmarked
from mfubench.timing import now_s, time_s

WARM_S = 0.15
CONTROL_SIZE, CONTROL_REPEATS = 512, 3
COMPILE_THREADS = "TORCHINDUCTOR_COMPILE_THREADS"
PLANTED_SIZE = 32
"""Small enough for one thread: the planted work leaves the step's other threads as they were."""


class TimedLoop:
    """A loop, timed step by step and in turns."""

    def __init__(self, loop: ConfiguredLoop) -> None:
        self.loop = loop
        self._work: Callable[[], object] = lambda: loop.iterate(unmarked)
        """What a turn repeats. The device may still be busy with it."""
        self._planted_bytes = 0
        self._planted_repeats_per_ratio = 0.0
        self._graphs_before = _graphs()

    def description(self) -> dict[str, Any]:
        """What the parent needs to know of the loop, and where the code under test was found."""
        return {**self.loop.description(), "origin": mfubench_model.__file__}

    def close(self) -> None:
        """Stop the loader."""
        self.loop.close()

    # --- a training loop --------------------------------------------------------------------------

    def run(self, steps: int) -> dict[str, Any]:
        """Seconds of each of `steps` steps."""
        return {"times_s": [time_s(self.loop) for _ in range(steps)]}

    def compile(self, cpus: Sequence[int]) -> dict[str, Any]:
        """The first step of a compiled loop, with all of these processors for the compiler: where
        OpenMP threads are bound, this thread is tied to one, and whatever it starts too."""
        import torch._inductor.config as inductor

        tied = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
        if tied is not None:
            os.sched_setaffinity(0, cpus)
        if COMPILE_THREADS not in os.environ:  # as many as this thread could use, it had counted
            inductor.compile_threads = len(cpus)
        try:
            return self.run(1)
        finally:
            if tied is not None:
                os.sched_setaffinity(0, tied)

    def losses(self, steps: int) -> dict[str, Any]:
        """The loss of each of `steps` steps."""
        losses = []
        for _ in range(steps):
            self.loop()
            losses.append(float(self.loop.last_loss))
        return {"losses": losses}

    def evaluate(self, batches: int) -> dict[str, Any]:
        """Mean loss of validation batches, and the seconds that they took."""
        start_s = now_s()
        loss = self.loop.evaluate(batches)
        return {"loss": loss, "seconds": now_s() - start_s}

    def save(self) -> dict[str, Any]:
        """Seconds of a checkpoint."""
        with tempfile.TemporaryDirectory(prefix="mfubench-") as folder:
            return {"seconds": time_s(lambda: self.loop.save(Path(folder) / "ckpt.pt"))}

    def bars(self) -> dict[str, Any]:
        """Seconds of each bar of an iteration, from one block of a profile."""
        return {"bars": self.loop.bars()}

    # --- turns ------------------------------------------------------------------------------------

    def turn(
        self,
        steps: int,
        *,
        evaluation: bool = False,
        control: bool = False,
        planted_ratio: float = 0.0,
    ) -> dict[str, float]:
        """Mean seconds of a step, the device waited for once at the end, planted work of about
        `planted_ratio` of it included; with the planted seconds, those of one evaluation batch, and
        those of the control kernel."""
        repeats = round(planted_ratio * self._planted_repeats_per_ratio)
        planted_s = 0.0
        start_s = now_s()
        for _ in range(steps):
            self._once()
            if repeats:
                self.loop.device.synchronise()  # else the step's rest would count as planted
                planted_s += time_s(lambda: _repeat(self._planted, repeats))
        self.loop.device.synchronise()
        found = {"step_s": (now_s() - start_s) / steps, "extra_s": planted_s / steps}
        if evaluation:
            found["evaluation_s"] = time_s(lambda: self.loop.evaluate(1))
        if control:
            found["control_s"] = time_s(lambda: _repeat(self._control, CONTROL_REPEATS))
        return found

    def start(
        self, steps: int, *, evaluates: bool = False, planted_memory_ratio: float = 0.0
    ) -> dict[str, Any]:
        """Get ready for the turns of a gate: what the first steps took, the loss they end with.

        The turns time an evaluation batch where the case `evaluates`, else a step. Memory of
        `planted_memory_ratio` of the step's peak is held in each of them.
        """
        if evaluates:
            self._work = lambda: self.loop.evaluate(1)
        if planted_memory_ratio and (peak := self._peak_bytes()):
            self._planted_bytes = round(planted_memory_ratio * peak)
        self._control = _matmul(self.loop.device, CONTROL_SIZE)
        self._planted = _matmul(self.loop.device, PLANTED_SIZE)
        times_s: list[float] = self.run(steps)["times_s"]
        loss = float(self.loop.last_loss)
        warm_s = 0.0
        while warm_s < WARM_S:
            times_s.append(time_s(self._finished))
            warm_s += times_s[-1]
        step_s = min(times_s[steps:])
        self._control()
        self._planted_repeats_per_ratio = step_s / min(time_s(self._planted) for _ in range(20))
        return {
            "start_up_s": max(0.0, sum(times_s[:2]) - 2 * statistics.median(times_s[2:steps])),
            "step_s": step_s,
            "loss": loss,
        }

    def _once(self) -> None:
        held = None
        if self._planted_bytes:
            device = self.loop.device.torch_device
            held = torch.empty(self._planted_bytes, dtype=torch.uint8, device=device)
        self._work()
        del held

    def _finished(self) -> None:
        self._once()
        self.loop.device.synchronise()

    # --- what is counted --------------------------------------------------------------------------

    def count(self) -> dict[str, Any]:
        """The peak of a step's memory, and the graphs that torch.compile made of this loop,
        recompilations included."""
        return {"peak_bytes": self._peak_bytes(), "graphs": _graphs() - self._graphs_before}

    def _peak_bytes(self) -> int | None:
        """The most memory that tensors held during one step; exact on a CPU and on CUDA."""
        device = self.loop.device
        if device.kind == "cpu":
            return _peak_on_cpu(self._once)
        device.restart_peak_memory()
        self._once()
        return device.peak_memory_bytes()


def _repeat(run: Callable[[], object], times: int) -> None:
    for _ in range(times):
        run()


def _matmul(device: Device, size: int) -> Callable[[], None]:
    a = torch.ones(size, size, device=device.torch_device)
    out = torch.empty_like(a)

    def run() -> None:
        torch.mm(a, a, out=out)
        device.synchronise()

    return run


def _graphs() -> int:
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def _peak_on_cpu(run: Callable[[], object]) -> int | None:
    """The largest growth of allocated memory during a call, from the profiler's allocation events.

    torch keeps no peak on a CPU, and the process's resident memory says what the allocator keeps.
    """
    run()
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profiler:
        run()
    with tempfile.TemporaryDirectory(prefix="mfubench-") as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = [
        (event["ts"], event["args"]["Bytes"])
        for event in events
        if event.get("name") == "[memory]" and event["args"].get("Device Type") == 0
    ]
    held, peak = 0, 0
    for _, change in sorted(changes):
        held += change
        peak = max(peak, held)
    return peak or None
