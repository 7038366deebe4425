"""One case measured outside pytest: what `mfubench breakdown` runs."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from typing import TextIO

from mfubench_model.presets import PRESETS

from mfubench.hardware.dtypes import DTYPES
from mfubench.hardware.fingerprint import fingerprint
from mfubench.results.case_id import CaseId, CaseIdError
from mfubench.results.record import CaseRecord
from mfubench.streams import escaped
from mfubench.suite.progress import Progress
from mfubench.suite.runner import CaseRunner
from mfubench.suite.session import BenchSession
from mfubench.suite.sweep import MAX_BATCH_SIZE, SweepOptions
from mfubench.suite.timer import PlainTimer

QUESTIONS = ("train-step", "train-loop", "breakdown", "breakdown-loop")
LOOP_QUESTIONS = ("train-loop", "breakdown-loop")


def named_case(text: str) -> CaseId:
    """A case by its id as the table prints it, or by its preset alone.

    Of a preset the case at its own batch size, eager, in float32 on the CPU. Raises CaseIdError.

    >>> named_case("gpt2/cuda-bfloat16-b12-compiled").batch_size
    12
    >>> str(named_case("train-loop/nanogpt-cpu"))
    'train-loop/nanogpt-cpu/cpu-float32-b12-eager'
    """
    name = text.strip()
    preset = name.rpartition("/")[2]
    if preset in PRESETS:
        name += f"/cpu-float32-b{PRESETS[preset].batch_size}-eager"
    with contextlib.suppress(CaseIdError):
        case = CaseId.parse(name)
        is_whole = case.compile is not None and case.knob is None
        is_known = case.question in (None, *QUESTIONS) and case.preset in PRESETS
        size = case.batch_size or 0
        if is_whole and is_known and case.dtype in DTYPES and 1 <= size <= MAX_BATCH_SIZE:
            return case
    raise CaseIdError(
        f"{text!r} names no case; give a preset ({', '.join(PRESETS)}) or a case as the table "
        "prints it, for instance nanogpt-cpu/cpu-float32-b12-eager; dtypes are "
        f"{', '.join(DTYPES)}, batch sizes 1 to {MAX_BATCH_SIZE}"
    )


class StreamScreen:
    """Progress on a stream: on a terminal one line that is overwritten, else nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = getattr(stream, "raw", stream)  # it goes back to the line's beginning
        self.is_terminal = stream.isatty()

    def line(self, text: str) -> None:
        """Lasting lines are the result, which is printed on standard output."""
        if self.is_terminal:
            self._stream.write("\r" + " " * 79 + "\r")

    def transient(self, text: str) -> None:
        self._stream.write("\r" + escaped(text)[:79].ljust(79))
        self._stream.flush()


def breakdown_of(case: CaseId, options: SweepOptions, *, loop: bool) -> CaseRecord:
    """Measure and account for one case; for the loop's iteration with `loop`, or where it is about
    the loop. Progress goes to standard error where it is a terminal.

    Raises mfubench_model.corpus.CorpusError for a corpus that cannot be read.
    """
    assert case.preset is not None
    assert case.dtype is not None
    assert case.batch_size is not None
    machine_dir = options.results_dir / fingerprint().id
    session = BenchSession(options, Progress(StreamScreen(sys.stderr)), machine_dir=machine_dir)
    try:
        name = str(replace(case, question=None))
        session.progress.plan({name: bool(case.compile)}, options.plan)
        session.progress.start(name)
        result = CaseRunner(session, PlainTimer()).breakdown(
            session.gpt_workload(case.preset, case.batch_size),
            device=case.device,
            dtype=case.dtype,
            compile=bool(case.compile),
            loop=loop or case.question in LOOP_QUESTIONS,
        )
        session.progress.finish(name, "")
        return result.recorded()
    finally:
        session.close()
