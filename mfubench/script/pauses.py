"""What is no training within a training run: evaluation and checkpoints.

Evaluation is announced by `model.eval()`, and over with `model.train()`. Where nobody announces it,
or nobody ends it (Lightning sets each module's mode by itself), a block without gradients tells:
what runs a module under `no_grad`, `inference_mode` or `set_grad_enabled(False)`, and only now and
then. A block that runs a module in most steps is part of the step: a teacher, or recomputation.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

clock_s = time.perf_counter

EVALUATION, CHECKPOINT, QUIET = "evaluation", "checkpoint", "quiet"
"""Announced evaluation; a checkpoint; a block without gradients that ran a module."""
LOOKS = 2
"""A block that ran no module so often is not looked at again."""


@dataclass(slots=True)
class Pause:
    """A stretch of a run."""

    kind: str
    row: int
    """The row that is noted next: at the end of the step that the stretch lies in."""
    since_s: float
    until_s: float
    site: int = -1
    """Which block of the script it is, of those without gradients."""
    backward: int = 0
    begin: Any = None
    end: Any = None
    """Events on the device, where there is one with a clock."""
    device_s: float | None = None

    @property
    def seconds(self) -> float:
        """On the device's clock where it has one, else on the host's."""
        return self.until_s - self.since_s if self.device_s is None else self.device_s

    def read_device(self) -> None:
        """Both events have happened."""
        if self.begin is not None and self.end is not None:
            self.device_s = self.begin.elapsed_time(self.end) * 1e-3
        self.begin = self.end = None


@dataclass(slots=True)
class Site:
    """A block without gradients in the script, by where it is entered from."""

    number: int
    looks: int = 0
    has_module: bool = False
    rows: int = 0
    """Rows in which it ran."""
    last_row: int = -1


class Pauses:
    """The pauses of one run. `event` gives an event on the device, None without one."""

    def __init__(self) -> None:
        self.all: list[Pause] = []
        self.event: Callable[[], Any] = lambda: None
        self.ended: Callable[[Pause], None] = lambda pause: None
        self._sites: dict[tuple[int, ...], Site] = {}
        self._announced: Pause | None = None
        self._blocks_end: tuple[float, Any] | None = None
        """When the last block without gradients ended after evaluation was announced."""
        self._depth = 0
        self._site: Site | None = None
        self._block: Pause | None = None
        self._saving: Pause | None = None
        self._module_code: tuple[Any, ...] = ()

    @property
    def is_evaluating(self) -> bool:
        """Whether a module was told to evaluate and not yet to train again."""
        return self._announced is not None

    @property
    def is_without_gradients(self) -> bool:
        """Whether a block without gradients is open."""
        return self._depth > 0

    def _begin(self, kind: str, row: int) -> Pause:
        now_s = clock_s()
        return Pause(kind, row, now_s, now_s, begin=self.event())

    def _end(self, pause: Pause, at: tuple[float, Any] | None = None) -> Pause:
        pause.until_s, pause.end = at or (clock_s(), self.event())
        self.all.append(pause)
        self.ended(pause)
        return pause

    # --- announced -------------------------------------------------------------------------------

    def mode(self, training: bool, row: int) -> Pause | None:
        """A module was told to evaluate, or to train again; the pause that ends with it."""
        if not training:
            if self._announced is None:
                self._announced, self._blocks_end = self._begin(EVALUATION, row), None
            return None
        pause, self._announced = self._announced, None
        return None if pause is None else self._end(pause)

    def step_ended(self) -> Pause | None:
        """The optimizer has stepped: evaluation that nobody ended was over with its last
        block without gradients. Without one there was none: a frozen part stays in that mode."""
        pause, self._announced = self._announced, None
        if pause is None or self._blocks_end is None:
            return None
        return self._end(pause, self._blocks_end)

    def saving(self, row: int) -> None:
        """A checkpoint begins."""
        if self._announced is None and self._saving is None:
            self._saving = self._begin(CHECKPOINT, row)

    def saved(self) -> Pause | None:
        """It is written."""
        pause, self._saving = self._saving, None
        return None if pause is None or self._announced is not None else self._end(pause)

    # --- without gradients -----------------------------------------------------------------------

    def gradients_off(self, frame: FrameType, row: int, backward: int) -> None:
        """A block without gradients is entered from a frame, outside of the optimizer and of
        backward."""
        self._depth += 1
        if self._depth > 1 or self._announced is not None:
            return
        site = self._site = self._site_of(frame)
        if site.has_module or (site.looks < LOOKS and self._look()):
            self._block = self._begin(QUIET, row)
            self._block.site, self._block.backward = site.number, backward

    def gradients_on(self) -> Pause | None:
        """It ends; the pause, where it ran a module and does so only now and then."""
        self._depth = max(0, self._depth - 1)
        if self._depth:
            return None
        if self._announced is not None:
            self._blocks_end = clock_s(), self.event()
        if sys.getprofile() == self._saw:
            sys.setprofile(None)
        site, self._site = self._site, None
        block, self._block = self._block, None
        if site is None or block is None:
            return None
        if not site.has_module:
            site.looks += 1
            return None
        if site.last_row != block.row:
            site.rows, site.last_row = site.rows + 1, block.row
        before = self.all[-1] if self.all else None
        if before is not None and (before.site, before.row, before.backward) == (
            block.site,
            block.row,
            block.backward,
        ):  # of one loop over batches
            before.until_s, before.end = clock_s(), self.event()
        else:
            before = self._end(block)
        return before if is_occasional(site.rows, block.row) else None

    def _site_of(self, frame: FrameType) -> Site:
        """The block by its place and its caller's: a decorated function is entered by torch's own
        wrapper."""
        key = [id(frame.f_code), frame.f_lasti]
        if frame.f_back is not None:
            key += [id(frame.f_back.f_code), frame.f_back.f_lasti]
        return self._sites.setdefault(tuple(key), Site(len(self._sites)))

    def _look(self) -> bool:
        """Watch for a module's call, unless somebody else watches Python's calls."""
        if sys.getprofile() is not None:
            return False
        if not self._module_code:
            from torch.nn import Module

            self._module_code = tuple(
                getattr(Module, name).__code__ for name in ("_wrapped_call_impl", "_call_impl")
            )
        sys.setprofile(self._saw)
        return True

    def _saw(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code in self._module_code:
            sys.setprofile(None)
            if self._site is not None:
                self._site.has_module = True


def is_occasional(rows: int, of: int) -> bool:
    """Whether what ran in so many of the steps is no part of a step."""
    return rows <= max(1, of / 2)
