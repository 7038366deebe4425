"""One case measured without pytest: what `mfubench breakdown` runs."""

from __future__ import annotations

import contextlib
import re
import sys
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TextIO, cast

import pytest
from mfubench_model.presets import PRESETS

from mfubench.hardware.dtypes import DTYPES
from mfubench.hardware.fingerprint import fingerprint
from mfubench.results.record import CaseRecord
from mfubench.suite.options import DEVICE_KINDS
from mfubench.suite.progress import Progress
from mfubench.suite.runner import CaseRunner
from mfubench.suite.session import BenchSession
from mfubench.suite.sweep import MAX_BATCH_SIZE, SweepOptions, TrainCase
from mfubench.timing import time_s

_CASE = re.compile(
    r"(?:(?:train-step|train-loop|breakdown|breakdown-loop)/)?(?P<preset>[^/]+)"
    rf"(?:/(?P<device>(?:{'|'.join(DEVICE_KINDS)})(?::\d{{1,4}})?)-(?P<dtype>\w+)"
    r"-b(?P<batch>\d{1,8})-(?P<how>eager|compiled))?"
)
EXAMPLE = "nanogpt-cpu/cpu-float32-b12-eager"


class CaseNameError(ValueError):
    """A text that names no case, in one sentence."""


def parse_case(text: str, *, device: str, dtype: str) -> TrainCase:
    """A case's id as the table prints it, or a preset alone (then at its own batch size, eager).

    >>> parse_case("gpt2/cuda-bfloat16-b12-compiled", device="cpu", dtype="float32").batch_size
    12
    >>> parse_case("nanogpt-cpu", device="cpu", dtype="float32").id
    'nanogpt-cpu/cpu-float32-b12-eager'
    """
    match = _CASE.fullmatch(text.strip())
    if match is None or match["preset"] not in PRESETS:
        raise CaseNameError(
            f"{text!r} names no case; give a preset ({', '.join(PRESETS)}) or a case as the table "
            f"prints it, for instance {EXAMPLE}"
        )
    preset = match["preset"]
    if match["device"] is None:
        return TrainCase(preset, device, dtype, PRESETS[preset].batch_size, False)
    batch_size = int(match["batch"])
    if match["dtype"] not in DTYPES or not 1 <= batch_size <= MAX_BATCH_SIZE:
        raise CaseNameError(
            f"{text!r} names no case; dtypes are {', '.join(DTYPES)}, batch sizes 1 to "
            f"{MAX_BATCH_SIZE}"
        )
    return TrainCase(
        preset, match["device"], match["dtype"], batch_size, match["how"] == "compiled"
    )


@dataclass
class PlainTimer:
    """Times rounds as pytest-benchmark's fixture does, for a case that runs outside pytest."""

    disabled: bool = False
    has_error: bool = False
    group: str | None = None
    stats: Any = None
    extra_info: dict[str, Any] = field(default_factory=dict)

    def pedantic(self, target: Any, *, rounds: int, iterations: int, setup: Any = None) -> None:
        del iterations  # always one
        data: list[float] = []
        self.stats = SimpleNamespace(stats=SimpleNamespace(data=data))
        for _ in range(rounds):
            if setup is not None:
                setup()
            data.append(time_s(target))


class _StreamScreen:
    """Progress on a stream: on a terminal one line that is overwritten, else nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.is_terminal = stream.isatty()

    def line(self, text: str) -> None:
        """Lasting lines are the result, which is printed on standard output."""
        if self.is_terminal:
            self._stream.write("\r" + " " * 79 + "\r")

    def transient(self, text: str) -> None:
        self._stream.write("\r" + text[:79].ljust(79))
        self._stream.flush()


def names_a_loop(text: str) -> bool:
    """Whether a case's id is of a question about the training loop.

    >>> names_a_loop("train-loop/gpt2/cpu-float32-b12-eager"), names_a_loop("gpt2")
    (True, False)
    """
    return text.strip().startswith(("train-loop/", "breakdown-loop/"))


def breakdown_of(case: TrainCase, options: SweepOptions, *, loop: bool) -> CaseRecord:
    """Measure and account for one case. Progress goes to standard error where it is a terminal.

    Raises mfubench_model.corpus.CorpusError for a corpus that cannot be read.
    """
    machine_dir = options.results_dir / fingerprint().id
    session = BenchSession(options, Progress(_StreamScreen(sys.stderr)), machine_dir=machine_dir)
    try:
        name = case.id
        session.progress.plan({name: case.compile}, options.plan)
        session.progress.start(name)
        runner = CaseRunner(session, cast(Any, PlainTimer()), name)
        workload = session.gpt_workload(case.preset, case.batch_size)
        # The record says what happened.
        with contextlib.suppress(pytest.skip.Exception, pytest.fail.Exception):
            runner.breakdown(
                workload, device=case.device, dtype=case.dtype, compile=case.compile, loop=loop
            )
        return session.records[-1]
    finally:
        session.journal.saved()  # printed, not saved: nothing to keep for a later run
        session.close()
