"""One run of nanoGPT's `train.py` in numbers, while it is read and afterwards."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

UNSET_MFU_PERCENT: Final = -100.0
"""What `train.py` prints as mfu until its fifth iteration: a running average of -1."""

_LAG: Final = 16
"""How many printed iterations one rank may be behind another in lines without a rank's name."""


@dataclass(slots=True, kw_only=True, eq=False)
class Printed:
    """What a run printed beside its iterations; the defaults are what nothing was said of."""

    settings: dict[str, str] = field(default_factory=dict)
    """Overrides, the configuration file's assignments and `vocab_size`, as text."""
    pretrained: str | None = None
    """The GPT-2 whose weights it started from."""
    tokens_per_iter: int | None = None
    """Over all ranks."""
    parameters_millions: str | None = None
    """As printed, two decimals, without position embeddings."""
    decayed_parameters: int | None = None
    """Parameters in tensors of two dimensions, position embeddings included."""
    fused_adamw: bool | None = None
    compiled: bool = False
    has_header: bool = False
    evaluations: int = 0
    checkpoints: int = 0
    other_rank_lines: int = 0
    """Iteration lines of a second rank, left out."""
    not_finite_losses: int = 0
    first_not_finite_iter: int | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class LoggedRun(Printed):
    """What one run printed. Arrays have one entry per printed iteration."""

    iters: NDArray[np.int64]
    times_s: NDArray[np.float64]
    """nanoGPT's dt: from the end of the iteration before to the end of this one; NaN where the
    printed time was zero, negative or undefined."""
    mfu_percent: NDArray[np.float64]
    """As printed, -100 before the fifth iteration; NaN where none was printed."""
    evaluated: NDArray[np.bool_]
    """Whether the time includes an evaluation, and the checkpoint that may follow it."""
    from_the_start: bool
    """Whether the first printed iteration is the run's first."""
    ranks: int
    """Processes that shared the work, as far as the log shows them; at least 1."""
    evaluations_printed: bool
    """Whether `step` lines tell the evaluations; else `eval_interval` does, where it is known."""
    unusable_times: int

    @property
    def log_interval(self) -> int:
        """Iterations from one printed line to the next: the usual step, else the setting, else 1.

        What was printed goes before what was set: a log may have been thinned out.
        """
        if len(self.iters) > 1:
            return max(1, int(np.median(np.diff(self.iters))))
        return whole_number(self.settings, "log_interval") or 1


def whole_number(settings: Mapping[str, str], key: str) -> int | None:
    """A setting that is a whole number of at least 1, else None.

    >>> whole_number({"n_layer": "4", "bias": "True"}, "n_layer")
    4
    """
    text = settings.get(key, "")
    # isdigit alone lets the digits of other scripts by, which nanoGPT never prints.
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else 0
    return number if number >= 1 else None


def _count(digits: str) -> int | None:
    """A count with thousands separators, as `:,` writes it."""
    return int(digits.replace(",", "")) or None


class RunInProgress(Printed):
    """Collects one run's lines."""

    def __init__(self) -> None:
        super().__init__()
        self.iters = array("q")
        self.last_iter = -1
        self.rank: int | None = None
        self.in_config_file = False
        self._times_s = array("d")
        self._mfu_percent = array("d")
        self._evaluated = array("b")
        self._ranks_named: set[int] = set()
        self._token_lines: dict[int | None, int] = {}
        self._repeated = False
        self._evaluation_due: int | None = None

    def belongs_to_another_rank(self, rank: int | None) -> bool:
        """Whether a line comes from a rank other than the one whose iterations are kept."""
        if rank is not None:
            self._ranks_named.add(rank)
        return bool(self.iters) and rank != self.rank

    def repeats(self, iteration: int) -> bool:
        """Whether an iteration that is not beyond the last one is a second rank's copy of it.

        Ranks without names in their lines repeat each other's numbers, and after a first repeat one
        may fall a little behind. Any other way back is a new run.
        """
        if not self.iters:
            return False
        self._repeated |= iteration == self.last_iter
        return self.lags(iteration)

    def lags(self, iteration: int) -> bool:
        """Whether ranks repeat each other and one of them just printed this iteration."""
        return self._repeated and iteration in self.iters[-_LAG:]

    def add_iteration(
        self, iteration: int, loss: bytes, time_ms: float, mfu_percent: bytes | None
    ) -> None:
        """One `iter` line."""
        self.in_config_file = False
        self._times_s.append(time_ms / 1e3 if 0 < time_ms < math.inf else math.nan)
        if b"n" in loss:  # nan, inf or -inf
            self.not_finite_losses += 1
            if self.first_not_finite_iter is None:
                self.first_not_finite_iter = iteration
        self.iters.append(iteration)
        self._mfu_percent.append(math.nan if mfu_percent is None else float(mfu_percent))
        self._evaluated.append(iteration == self._evaluation_due)
        self.last_iter = iteration

    def add_evaluation(self, iteration: int) -> None:
        """One `step` line: the time of the iteration with that number includes it."""
        self.evaluations += iteration != self._evaluation_due
        self._evaluation_due = iteration

    def add_header(self, kind: str, found: re.Match[bytes], rank: int | None) -> None:
        """A line from before the first iteration that is not a setting."""
        text = found[1].decode("ascii") if found.re.groups else ""
        if kind == "tokens":
            self.tokens_per_iter = _count(text)
            self._token_lines[rank] = self._token_lines.get(rank, 0) + 1
        elif kind == "parameters":
            self.parameters_millions = text
        elif kind == "decayed":
            self.decayed_parameters = _count(text)
        elif kind == "vocabulary":
            self.settings["vocab_size"] = text
        elif kind == "pretrained":
            self.pretrained = text
        elif kind == "fused":
            self.fused_adamw = text == "True"
        elif kind == "compiling":
            self.compiled = True

    def has_tokens_of(self, rank: int | None) -> bool:
        """Whether that rank has printed its tokens per iteration."""
        return rank in self._token_lines

    def finish(self) -> LoggedRun:
        """The run as read."""
        iters = np.asarray(self.iters, dtype=np.int64)
        times_s = np.asarray(self._times_s, dtype=np.float64)
        mfu_percent = np.asarray(self._mfu_percent, dtype=np.float64)
        evaluated = np.asarray(self._evaluated, dtype=np.bool_)
        printed = {name.name: getattr(self, name.name) for name in fields(Printed)}
        if not self.evaluations:
            if interval := whole_number(self.settings, "eval_interval"):
                evaluated = iters % interval == 0  # `step` lines were cut out, but not the setting
            printed["evaluations"] = int(evaluated.sum())
        before_the_fifth = np.isnan(mfu_percent[0]) or mfu_percent[0] == UNSET_MFU_PERCENT
        return LoggedRun(
            **printed,
            iters=iters,
            times_s=times_s,
            mfu_percent=mfu_percent,
            evaluated=evaluated,
            evaluations_printed=self.evaluations > 0,
            from_the_start=bool(iters[0] == 0 or (self.has_header and before_the_fifth)),
            ranks=max(1, len(self._ranks_named), self._token_lines.get(None, 0)),
            unusable_times=int(np.isnan(times_s).sum()),
        )
