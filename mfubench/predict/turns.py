"""The probe's turns: a short round of every operator and of the anchor steps, again and again.

A machine's speed changes within tenths of a second, and over minutes. What operators and whole
steps take is compared, so each of them has a round in every sweep, and all of them meet the same
machine.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, get_args

from mfubench.hardware.devices import Device
from mfubench.predict.document import MeasuredStep, OperatorName, OperatorTime, Setting
from mfubench.predict.probe import COPIES, Run, copies_of, shapes
from mfubench.predict.rates import DTYPELESS
from mfubench.predict.steps import WarmStep
from mfubench.results.outcomes import Dtype
from mfubench.timing import now_s

ROUND_S = 0.003
STEP_ROUND_S = 0.2
KEPT_BYTES = 8 * 2**20
"""Larger operands are made anew for each round: all of them together would not fit into a small
machine."""
ALWAYS_NEW_BYTES = 32 * 2**20
"""glibc asks the system for more than this anew each time: a first call is as slow as any other."""
LONG_S, LONG_EVERY = 0.1, 3
"""What takes longer has a round in every third sweep: else it would take most of the probe."""
BYTES = 4


class TakesTurns(Protocol):
    """What has a round in each sweep, or in every so many."""

    every: int
    rounds_s: list[float]

    def round(self) -> None:
        """Time it once more, shortly."""


class OperatorTurns:
    """An operator at one shape, forward and backward. `now` is the clock."""

    def __init__(
        self,
        name: OperatorName,
        shape: tuple[int, ...],
        device: Device,
        dtype: Dtype,
        now: Callable[[], float] = now_s,
    ) -> None:
        self.name, self.shape, self._device, self._now = name, shape, device, now
        self.dtype: Dtype = "float32" if name in DTYPELESS else dtype
        self.rounds_s: list[float] = []
        self._asked = dtype
        run = self._warm(1)
        once_s = max(self._timed(run), 1e-7)
        self._copies = max(1, min(COPIES, int(ROUND_S / once_s)))
        if self._copies > 1:
            run = self._made(self._copies)
            once_s = max(self._timed(run), 1e-7)
        self._repeats = max(1, round(ROUND_S / once_s))
        self._kept = run if self._bytes() <= KEPT_BYTES else None
        self.every = LONG_EVERY if self._repeats * once_s > LONG_S else 1

    def round(self) -> None:
        """Seconds of one call, over about three milliseconds."""
        run = self._kept or self._warm(self._copies)
        self.rounds_s.append(self._timed(run, self._repeats) / self._copies)

    @property
    def time(self) -> OperatorTime:
        """The median of its rounds."""
        seconds = statistics.median(self.rounds_s)
        return OperatorTime(
            operator=self.name, dtype=self.dtype, shape=list(self.shape), seconds=seconds
        )

    def _warm(self, copies: int) -> Run:
        """Made, and called once where a first call is slower than the others."""
        run = self._made(copies)
        if self._bytes() < ALWAYS_NEW_BYTES:
            self._timed(run)
        return run

    def _made(self, copies: int) -> Run:
        return copies_of(self.name, self.shape, self._device, self._asked, copies)

    def _timed(self, run: Run, repeats: int = 1) -> float:
        start_s = self._now()
        for _ in range(repeats):
            run()
        self._device.synchronise()
        return (self._now() - start_s) / repeats

    def _bytes(self) -> int:
        """Of its operands, about."""
        if self.name == "linear":
            rows, inputs, outputs = self.shape
            return BYTES * (rows * inputs + inputs * outputs + rows * outputs)
        return BYTES * math.prod(self.shape)


class StepTurns:
    """An anchor: a whole training step."""

    every = 1

    def __init__(self, setting: Setting, device: Device) -> None:
        self._setting, self._warm = setting, WarmStep(setting, device)
        self.rounds_s: list[float] = []

    def round(self) -> None:
        """As many steps as fit into a fifth of a second, one at least."""
        self.rounds_s.append(statistics.median(self._warm.rounds_s(STEP_ROUND_S)))

    @property
    def step(self) -> MeasuredStep:
        """The median of its rounds. Its memory is not known, as others were beside it."""
        step_s = statistics.median(self.rounds_s)
        return MeasuredStep(setting=self._setting, step_s=step_s, peak_memory_bytes=None)


def operators_in_turns(
    device: Device, dtype: Dtype, *, with_optimizer: bool
) -> Iterator[OperatorTurns]:
    """Every operator at every shape; what works on float32 alone only where it is asked for."""
    names: Sequence[OperatorName] = get_args(OperatorName)
    for name in names:
        if with_optimizer or name not in DTYPELESS:
            for shape in shapes(name):
                yield OperatorTurns(name, shape, device, dtype)


def sweep(items: Sequence[TakesTurns], number: int) -> None:
    """A round of each item whose turn it is in this sweep, counted from 0."""
    for one in items:
        if number % one.every == 0:
            one.round()


def apart(items: Sequence[TakesTurns], sweeps: int) -> float:
    """How far the two halves of the last sweeps lie apart: the median over all items with a round
    in each of the slower half's time over the faster one's, less 1.

    >>> class Item:
    ...     every = 1
    ...     rounds_s = [9.0, 2.0, 2.0, 3.0, 3.0]
    >>> apart([Item()], 4)
    0.5
    """
    half = sweeps // 2
    pairs = [
        (statistics.median(one.rounds_s[-sweeps:][:half]), statistics.median(one.rounds_s[-half:]))
        for one in items
        if one.every == 1
    ]
    return statistics.median(max(pair) / min(pair) for pair in pairs) - 1
