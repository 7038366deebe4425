"""A log of nanoGPT's `train.py` as runs of numbers: streamed, whole or cut, of one rank or more.

Source of every format: nanoGPT (github.com/karpathy/nanoGPT), `train.py`, `model.py` and
`configurator.py`. Nothing is kept but numbers and a few settings: 25 bytes per printed iteration.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from mfubench.explain import lines as line_of
from mfubench.explain.run import LoggedRun, RunInProgress
from mfubench.files import open_input

MOST_OTHER_LINES: Final = 5_000_000
MOST_OTHER_LINES_PER_ITERATION: Final = 10_000
MOST_LINE_BYTES: Final = 10**9
"""What `yes` or a device prints has no end: reading stops where nanoGPT would have printed an
iteration long ago."""

LONGEST_LINE_BYTES: Final = 64 * 1024
"""What a file without line ends costs in memory; nanoGPT's lines have below 100 bytes."""

MOST_RUNS: Final = 1000
"""More runs than this are not runs but lines of several processes, mixed."""


class LogError(ValueError):
    """The input is not a training log; the message says why in one sentence."""


@dataclass(slots=True, eq=False)
class TrainingLog:
    """Everything that was read from one file or stream."""

    name: str
    runs: list[LoggedRun] = field(default_factory=list)
    """At least one; each with at least one printed iteration."""
    lines: int = 0
    iteration_lines: int = 0
    """Lines of iterations, second ranks' included."""
    unreadable_iteration_lines: int = 0
    """Lines that begin like an iteration's and go on as nanoGPT does not."""
    truncated_last_line: bool = False
    starts_without_iterations: int = 0
    """Headers that no iteration followed: evaluation alone, or stopped before the first."""


def read_log(path: Path) -> TrainingLog:
    """The runs in a file; raises LogError with one sentence where it has none."""
    # A name of undecodable bytes cannot be printed as it is.
    name = str(path).encode("utf-8", errors="replace").decode("utf-8")
    try:
        file = open_input(path)
    except OSError as error:
        raise LogError(f"{name} cannot be read: {error.strerror or error}") from None
    with file:
        return read_stream(file, name)


def read_stream(stream: BinaryIO, name: str) -> TrainingLog:
    """The runs in a stream; raises LogError with one sentence where it has none."""
    reader = _Reader(name)
    try:
        return reader.read(stream)
    except OSError as error:
        raise LogError(f"{name} cannot be read: {error.strerror or error}") from None


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines with their ends; of a line beyond the longest, its beginning."""
    inside_bytes = 0
    while line := stream.readline(LONGEST_LINE_BYTES):
        if not inside_bytes:
            yield line
        inside_bytes = 0 if line.endswith(b"\n") else inside_bytes + len(line)
        if inside_bytes > MOST_LINE_BYTES:
            raise OSError(errno.EFBIG, "a line in it has no end")


class _Reader:
    """Tells runs apart and hands each line to the run that it belongs to."""

    def __init__(self, name: str) -> None:
        self.log = TrainingLog(name)
        self.run = RunInProgress()
        self._other_lines = 0

    def read(self, stream: BinaryIO) -> TrainingLog:
        for line in _lines(stream):
            self.log.lines += 1
            found = line_of.ITER.match(line)
            if found is not None and (found[4] is not None or line.endswith(b"\n")):
                self._iteration(found, None)  # nearly every line of a long log
            else:
                self._other_line(line)
        self._end_run()
        if not self.log.runs:
            raise LogError(self._nothing_there())
        return self.log

    def _other_line(self, line: bytes) -> None:
        self._other_lines += 1
        allowed = self.log.iteration_lines * MOST_OTHER_LINES_PER_ITERATION
        if self._other_lines > MOST_OTHER_LINES + allowed:
            raise LogError(
                f"{self.log.name} is no log of nanoGPT's train.py: {self._other_lines - 1:,} lines "
                f"of it hold {self.log.iteration_lines:,} iterations"
            )
        if b"\0" in line:  # UTF-16, as some shells redirect: ASCII with zeros in between
            line = line.replace(b"\0", b"")
        ended = line.endswith(b"\n")
        line = line.rstrip(b"\r\n")
        if b"\r" in line:  # a progress bar that overwrote itself
            for part in line.split(b"\r"):
                self._part(part, ended)
        else:
            self._part(line, ended)

    def _part(self, line: bytes, ended: bool) -> None:
        if b"iter " in line:
            found = line_of.find(line_of.ITER, line)
            # Without its end and its mfu it may be cut inside the time.
            if found and (found[4] is not None or ended):
                self._iteration(found, line_of.rank_before(found))
                return
            if line_of.find(line_of.LIKE_ITER, line):
                self.log.unreadable_iteration_lines += ended
                self.log.truncated_last_line |= not ended
                return
        if line_of.NOTABLE.search(line):
            self._notable(line)
        elif self.run.in_config_file and (found := line_of.ASSIGNMENT.match(line)):
            self._setting(found[1], found[2])

    def _iteration(self, found: re.Match[bytes], rank: int | None) -> None:
        self.log.iteration_lines += 1
        number, loss, time_ms, mfu_percent = found.groups()
        iteration = int(number)
        run = self.run
        if iteration <= run.last_iter or rank != run.rank:
            if run.belongs_to_another_rank(rank) or run.repeats(iteration):
                run.other_rank_lines += 1
                return
            if iteration <= run.last_iter:
                run = self._next_run()
            run.rank = rank
        run.add_iteration(iteration, loss, float(time_ms), mfu_percent)

    def _notable(self, line: bytes) -> None:
        kind, found = line_of.header(line)
        if found is None:
            return
        rank = line_of.rank_before(found)
        if self.run.belongs_to_another_rank(rank):
            return
        if kind == "evaluation":
            self._evaluation(int(found[1]))
        elif kind == "checkpoint":
            self.run.checkpoints += 1
        else:
            self._header(kind, found, rank)

    def _evaluation(self, iteration: int) -> None:
        # Within a run an evaluation is printed before the iteration of its number.
        new_run = iteration <= self.run.last_iter
        if not (new_run and self.run.lags(iteration)):
            run = self._next_run() if new_run else self.run
            run.add_evaluation(iteration)

    def _header(self, kind: str, found: re.Match[bytes], rank: int | None) -> None:
        overrides = kind in {"setting", "file"}
        # A rank prints its overrides before its tokens per iteration, so these are a new start's.
        if self.run.iters or (overrides and self.run.has_tokens_of(rank)):
            self._next_run()
            self.run.belongs_to_another_rank(rank)
        run = self.run
        run.has_header = True
        run.in_config_file = kind == "file"
        if kind == "setting":
            self._setting(found[1], found[2])
        else:
            run.add_header(kind, found, rank)

    def _setting(self, key: bytes, value: bytes) -> None:
        if (name := key.decode("ascii", errors="replace")) in line_of.KEYS:
            self.run.settings[name] = line_of.plain_value(value)

    def _next_run(self) -> RunInProgress:
        self._end_run()
        if len(self.log.runs) >= MOST_RUNS:
            raise LogError(
                f"{self.log.name}: the iteration number goes back more than {MOST_RUNS} times; "
                "lines of several processes are mixed, so give one file per process"
            )
        self.run = RunInProgress()
        return self.run

    def _end_run(self) -> None:
        if self.run.iters:
            self.log.runs.append(self.run.finish())
        elif self.run.has_header:
            self.log.starts_without_iterations += 1

    def _nothing_there(self) -> str:
        log = self.log
        if log.lines == 0:
            return f"{log.name} is empty; it should hold what nanoGPT's train.py prints"
        if log.starts_without_iterations:
            return (
                f"{log.name} ends before the first iteration was printed: "
                "only the header of a nanoGPT run is there"
            )
        return (
            f"{log.name} is not a log of nanoGPT's train.py: none of its {log.lines:,} lines is "
            "like 'iter 10: loss 3.1234, time 37.11ms, mfu 0.03%'"
        )
