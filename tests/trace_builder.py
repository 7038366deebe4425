"""Traces made up event by event, as torch.profiler writes them, so that every second is known."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

MAIN, BACKWARD = 100, 101
"""Threads of the host."""
BASE_US = 1_000_000.0


class TraceBuilder:
    """Collects events; times are microseconds from the start of the trace."""

    def __init__(
        self,
        device: str = "NVIDIA A100-SXM4-80GB",
        *,
        rank: int | None = None,
        world_size: int = 1,
        clock_us: float = 0.0,
        runtime: str = "cuda",
    ) -> None:
        self.events: list[dict[str, Any]] = []
        self.header: dict[str, Any] = {
            "schemaVersion": 1,
            "deviceProperties": [
                {
                    "id": 0,
                    "name": device,
                    "totalGlobalMem": 84_990_623_744,
                    "computeMajor": 8,
                    "warpSize": 32,
                }
            ],
        }
        if rank is not None:
            self.header["distributedInfo"] = {
                "backend": "nccl",
                "rank": rank,
                "world_size": world_size,
            }
        self.clock_us = clock_us
        self.runtime = runtime
        self._next_id = 1

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id

    def event(
        self,
        category: str,
        name: str,
        start: float,
        end: float,
        *,
        pid: int | str = 1,
        tid: int | str = MAIN,
        **args: Any,
    ) -> dict[str, Any]:
        """Any complete event; underscores in the arguments' names are blanks."""
        made = {
            "ph": "X",
            "cat": category,
            "name": name,
            "pid": pid,
            "tid": tid,
            "ts": BASE_US + self.clock_us + start,
            "dur": end - start,
            "args": {key.replace("_", " "): value for key, value in args.items()},
        }
        self.events.append(made)
        return made

    def step(self, number: int, start: float, end: float) -> None:
        self.event("user_annotation", f"ProfilerStep#{number}", start, end, External_id=1)

    def range(self, name: str, start: float, end: float, thread: int = MAIN) -> None:
        self.event("user_annotation", name, start, end, tid=thread, External_id=self._new_id())

    def op(self, name: str, start: float, end: float, *, thread: int = MAIN, **args: Any) -> None:
        self.event("cpu_op", name, start, end, tid=thread, External_id=self._new_id(), **args)

    def call(
        self, name: str, start: float, end: float, *, thread: int = MAIN, correlation: int = 0
    ) -> None:
        """A call into the runtime that launches nothing of its own."""
        self.event(f"{self.runtime}_runtime", name, start, end, tid=thread, correlation=correlation)

    def device_event(
        self,
        name: str,
        start: float,
        end: float,
        *,
        stream: int = 7,
        correlation: int | None,
        category: str = "kernel",
        **args: Any,
    ) -> None:
        if correlation is not None:
            args["correlation"] = correlation
        self.event(category, name, start, end, pid=0, tid=stream, stream=stream, device=0, **args)

    def launch(
        self,
        name: str,
        call: tuple[float, float],
        run: tuple[float, float],
        *,
        stream: int = 7,
        thread: int = MAIN,
        by: str = "cudaLaunchKernel",
        category: str = "kernel",
        is_linked: bool = True,
        is_recorded: bool = True,
        **args: Any,
    ) -> int:
        """A call and the piece of work that it launched, joined by a correlation id."""
        correlation = self._new_id()
        if is_linked:
            self.call(by, *call, thread=thread, correlation=correlation)
        if is_recorded:
            self.device_event(
                name, *run, stream=stream, correlation=correlation, category=category, **args
            )
        return correlation

    def data(self) -> dict[str, Any]:
        return {**self.header, "traceEvents": self.events, "traceName": "made up"}

    def write(self, path: Path) -> Path:
        """As torch.profiler writes it, indented; compressed where the name ends in .gz."""
        text = json.dumps(self.data(), indent=2)
        if path.suffix == ".gz":
            path.write_bytes(gzip.compress(text.encode()))
        else:
            path.write_text(text, encoding="utf-8")
        return path
