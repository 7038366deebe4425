"""Times on the device's own clock: CUDA events, queued, and read once they have happened.
Nothing here makes a step wait for the device, until the run is over."""

from __future__ import annotations

from array import array
from typing import Any

from mfubench.script.pauses import Pause

PENDING_EVENTS = 64
"""Events that may wait to be read; older ones have happened, so reading them is no wait."""


class CudaClock:
    """Times between steps, and of the pauses in them."""

    def __init__(self, device: Any) -> None:
        import torch

        self._torch: Any = torch
        self._device = device
        self._pending: list[tuple[Any, list[Pause]]] = []
        self._pauses: list[Pause] = []
        self._last: Any = None
        self._times_s = array("d")

    def event(self) -> Any:
        """An event in the queue of the stream that is current; None while a CUDA graph is captured,
        which would take the event into the graph."""
        cuda = self._torch.cuda
        if cuda.is_current_stream_capturing():
            return None
        event = cuda.Event(enable_timing=True)
        event.record(cuda.current_stream(self._device))
        return event

    def paused(self, pause: Pause) -> None:
        """A pause between two events is over; it is read with the step that it falls into."""
        self._pauses.append(pause)

    def mark(self) -> None:
        """A row is noted."""
        self._pending.append((self.event(), self._pauses))
        self._pauses = []
        if len(self._pending) > PENDING_EVENTS and _has_happened(self._pending[0][0]):
            self._read(1)

    def _read(self, count: int) -> None:
        for event, pauses in self._pending[:count]:
            since_s = 0.0
            if event is not None:
                if self._last is not None:
                    since_s = self._last.elapsed_time(event) * 1e-3
                self._last = event
            self._times_s.append(since_s)
            for pause in pauses:
                pause.read_device()
        del self._pending[:count]

    def so_far(self) -> array[float]:
        """Seconds per row, of the rows whose events have happened: nothing is waited for."""
        happened = 0
        while happened < len(self._pending) and _has_happened(self._pending[happened][0]):
            happened += 1
        self._read(happened)
        return self._times_s[:]

    def finished(self) -> array[float]:
        """Seconds per row, all of them: the device is waited for here, once."""
        happening = [event for event, _ in self._pending if event is not None]
        if happening:
            happening[-1].synchronize()
        self._read(len(self._pending))
        return self._times_s


def _has_happened(event: Any) -> bool:
    return event is None or bool(event.query())


def wait_for(device: Any) -> None:
    """Wait until a CUDA device has done what is queued. Another kind is not waited for, nor is one
    whose work is captured into a graph: nobody may wait then."""
    if device is not None and device.type == "cuda":
        import torch

        if not torch.cuda.is_current_stream_capturing():
            torch.cuda.synchronize(device)
