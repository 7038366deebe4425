"""`mfubench run --save-trace FILE`: torch's profiler around a few steps of the script, for
`mfubench trace`. The account that is printed is made from that file, by what reads any trace."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mfubench.script import own_profiler

TRACED_STEPS = 5
TRIES = 3


class LiveTrace:
    """A trace that is made between two ends of steps. The step in which the profiler starts is not
    in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_running = self.is_done = False
        self.problem: str | None = "the script ended before the steps that are traced"
        """Why there is no trace; None once it is written."""
        self.rows: list[int] = []
        """The rows after which a step was not one of the script alone."""
        self._profiler: Any = None
        self._first = 0
        self._gave_way = 0

    def step_ended(self, row: int, device: Any) -> None:
        """Start, go on to the next step, or write the file."""
        try:
            if not self.is_running:
                self._start(device)
            else:
                with own_profiler.ours():
                    self._profiler.step()
            self.rows.append(row)
            if len(self.rows) - self._first > 1 + TRACED_STEPS:
                self.stop()
        except Exception as error:  # the profiler, and the script's own
            first = str(error).strip().partition("\n")[0]
            self.problem = f"torch's profiler cannot run here: {first}"
            self.is_done, self.is_running = True, False

    def _start(self, device: Any) -> None:
        import torch

        if torch.autograd._profiler_enabled():  # type: ignore[attr-defined]
            raise RuntimeError("the script's own profiler runs, which a second one would end")
        from mfubench.hardware.devices import parse_device
        from mfubench.measure.profiler_events import tracer

        on = parse_device("cpu" if device is None else str(device))
        self._profiler = tracer(on, TRACED_STEPS, self._write)
        self._first = len(self.rows)
        with own_profiler.ours(), _quiet():
            self._profiler.__enter__()
        self.is_running = True

    def _write(self, profiler: Any) -> None:
        profiler.export_chrome_trace(str(self.path))
        self.problem = None

    def give_way(self) -> None:
        """The script starts a profiler of its own. Once that is over ours begins anew, unless this
        was so a few times already."""
        if self.is_running:
            self.stop()
            self.problem = own_profiler.WHY
            self._gave_way += 1
            self.is_done = self._gave_way >= TRIES

    def stop(self) -> None:
        """Whatever was recorded so far is left out, unless all of it was."""
        self.is_done = True
        if self.is_running:
            self.is_running = False
            if self.problem is not None:
                self._profiler.on_trace_ready = None  # it was not a whole step
            with contextlib.suppress(RuntimeError), own_profiler.ours():
                self._profiler.__exit__(None, None, None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Else the profiler writes a line to standard error at each start and stop. It reads this once,
    when the first profiler of the process starts."""
    if "KINETO_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["KINETO_LOG_LEVEL"] = "99"
    try:
        yield
    finally:
        os.environ.pop("KINETO_LOG_LEVEL", None)


def account_text(path: Path, results_dir: Path, *, color: bool) -> str:
    """The account of a trace that was written, as `mfubench trace` prints and keeps it."""
    from mfubench.results import document
    from mfubench.trace.build import NoDeviceError, trace_account
    from mfubench.trace.text import trace_text

    try:
        account = trace_account([path])
    except NoDeviceError as error:  # a CPU's: the host's side is all of it
        account = error.account
    where = document.save("trace", account, results_dir)
    return f"{trace_text(account, color=color)}\nwrote {path}\n{where}"
