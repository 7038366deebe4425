"""`with mfubench.measure_training() as run:` around a loop that is no script, in a notebook say."""

from __future__ import annotations

import contextlib
import html
import sys
from collections.abc import Iterator
from pathlib import Path

from mfubench.results.record import CaseRecord
from mfubench.script.run import TrainingRun


class Measured:
    """What a measured block leaves: `record` once it has ended, and the table as its text."""

    def __init__(self) -> None:
        self.record: CaseRecord | None = None
        self._notes: list[str] = []

    def __str__(self) -> str:
        if self.record is None:
            return "the block has not ended yet"
        from mfubench.script.text import run_text

        return run_text(self.record, color=False, notes=self._notes)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The same for a notebook, which cuts no line and scrolls where it is narrow."""
        return f'<pre style="line-height:1.3">{html.escape(str(self))}</pre>'


@contextlib.contextmanager
def measure_training(
    *,
    name: str = "training",
    tokens_per_step: int | None = None,
    results_dir: str | Path | None = None,
) -> Iterator[Measured]:
    """Measure the training steps of a block: its optimizer steps, their times and FLOPs.

    `name` is what the case is called; `tokens_per_step` is for a model without an embedding. With
    `results_dir` the run is saved there, and a ceiling that is stored there is used. What the block
    raises passes through, and what was measured until then is kept.

        with mfubench.measure_training() as run:
            train()
        print(run)
    """
    from mfubench.script.finish import Wanted, finish

    run, measured = TrainingRun(), Measured()
    run.start()
    try:
        yield measured
    finally:
        error = sys.exc_info()[1]  # None after a clean end
        found = run.stop()
        if "torch" in sys.modules:
            measured.record, measured._notes = finish(
                run,
                found,
                Wanted(
                    label=name,
                    argv=[name],
                    tokens_per_step=tokens_per_step,
                    results_dir=None if results_dir is None else Path(results_dir),
                ),
                ended=None if error is None else f"the block failed: {type(error).__name__}",
            )
