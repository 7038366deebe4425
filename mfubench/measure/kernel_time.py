"""How long a kernel takes by itself: the device's own time, launches left out where they can be."""

from __future__ import annotations

from collections.abc import Callable

from mfubench.hardware.devices import Device

TRIES = 2
"""Calls from which is guessed how many make a round."""


def kernel_times_s(
    device: Device, once: Callable[[], object], *, round_s: float, rounds: int
) -> list[float]:
    """Seconds of one `once`, from so many rounds that last about `round_s` each.

    A small kernel is done before the next one is launched, so that a loop over it would time the
    launches. Where the device can, a round is captured and launched as a whole.
    """

    def several() -> None:
        for _ in range(repeats):
            once()

    repeats = TRIES
    several()
    repeats = max(1, round(round_s / max(device.busy_s(several) / TRIES, 1e-7)))
    captured = device.captured(several) or several
    captured()  # the first launch of a graph brings it to the device
    return [device.busy_s(captured) / repeats for _ in range(rounds)]
