"""One case of the gate in a worker: its step or evaluation in turns, and what is counted of it.

Everything that a verdict needs is measured here, in the process of one side: step time with a
control kernel beside it, start-up, peak memory, compiled graphs, and the loss after a fixed number
of steps. A self-test plants its costs here too, as work and memory; nothing sleeps.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mfubench_model
import torch

from mfubench.hardware.devices import Device
from mfubench.measure.configured_loop import ConfiguredLoop
from mfubench.timing import time_s

WARM_S = 0.15
CONTROL_SIZE, CONTROL_REPEATS = 512, 3
EXTRA_SIZE = 32
"""Small enough for one thread: the planted work leaves the step's other threads as they were."""


class GatedLoop:
    """A training loop as a case of the gate."""

    def __init__(
        self, loop: ConfiguredLoop, *, evaluates: bool, extra_memory_ratio: float = 0.0
    ) -> None:
        self.loop = loop
        self._run: Callable[[], object] = (lambda: loop.evaluate(1)) if evaluates else loop
        self._extra_bytes = 0
        if extra_memory_ratio and (peak := self.peak_bytes()):
            self._extra_bytes = round(extra_memory_ratio * peak)
        self._control = _matmul(loop.device, CONTROL_SIZE)
        self._extra = _matmul(loop.device, EXTRA_SIZE)
        self._extra_s = 0.0
        self._step_s = 0.0
        self._graphs_before = _graphs()

    def start(self, steps: int) -> dict[str, Any]:
        """The first steps: what they took, the loss they end with."""
        times_s = [time_s(self.loop) for _ in range(steps)]
        loss = float(self.loop.last_loss)
        warm_s = 0.0
        while warm_s < WARM_S:
            times_s.append(time_s(self._once))
            warm_s += times_s[-1]
        self._step_s = min(times_s[steps:])
        self._control()
        self._extra_s = min(time_s(self._extra) for _ in range(20))
        return {
            "start_up_s": max(0.0, sum(times_s[:2]) - 2 * statistics.median(times_s[2:steps])),
            "step_s": self._step_s,
            "loss": loss,
        }

    def turn(self, steps: int, extra_ratio: float = 0.0) -> dict[str, float]:
        """Mean seconds of a step, planted work of about `extra_ratio` of it included, with the
        planted seconds and those of the control kernel."""
        repeats = round(extra_ratio * self._step_s / self._extra_s) if extra_ratio else 0
        start_s = time.perf_counter()
        extra_s = 0.0
        for _ in range(steps):
            self._once()
            if repeats:
                extra_s += time_s(lambda: self._again(repeats))
        total_s = time.perf_counter() - start_s
        control_s = time_s(lambda: [self._control() for _ in range(CONTROL_REPEATS)])
        return {"step_s": total_s / steps, "extra_s": extra_s / steps, "control_s": control_s}

    def _again(self, repeats: int) -> None:
        for _ in range(repeats):
            self._extra()

    def _once(self) -> None:
        held = torch.empty(self._extra_bytes, dtype=torch.uint8) if self._extra_bytes else None
        self._run()
        del held

    def peak_bytes(self) -> int | None:
        """The most memory that tensors held during one step; exact on a CPU and on CUDA."""
        if self.loop.device.kind == "cpu":
            return _peak_on_cpu(self._once)
        self.loop.device.restart_peak_memory()
        self._once()
        return self.loop.device.peak_memory_bytes()

    def graphs(self) -> int:
        """Graphs that torch.compile made for this case, recompilations included."""
        return _graphs() - self._graphs_before

    def description(self) -> dict[str, Any]:
        """Where the code under test was found, for the parent to check."""
        return {"origin": mfubench_model.__file__, "tokens_per_step": self.loop.tokens_per_step}

    def close(self) -> None:
        """Stop the loader."""
        self.loop.close()


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
