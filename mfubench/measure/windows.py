"""Steps in windows: as a training loop repeats them, with one wait for the device at the end.

A loop of nanoGPT's launches the next step while the device still works on the last one, and waits
only where it logs. A wait after every step would forbid that, and time a slower loop than anyone
runs.
"""

from __future__ import annotations

from mfubench.hardware.devices import Device
from mfubench.measure.train_step import TrainStep, unmarked

WINDOW_S = 0.1


def steps_per_window(device: Device, step_s: float) -> int:
    """How many steps of `step_s` make a window: one where the host does not run ahead."""
    return max(1, round(WINDOW_S / max(step_s, 1e-6))) if device.has_queue else 1


class Window:
    """A step to be called over and over; every `steps`-th call waits for the device."""

    def __init__(self, step: TrainStep, steps: int) -> None:
        self._step, self._steps, self._left = step, steps, steps

    def __call__(self) -> None:
        self._step.iterate(unmarked)
        self._left -= 1
        if self._left == 0:
            self._left = self._steps
            self._step.device.synchronise()
