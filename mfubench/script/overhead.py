"""What watching a script costs a step: the benchmark of our own hooks."""

from __future__ import annotations

from mfubench.measure.bare import bare_step
from mfubench.measure.precision import matmul_precision
from mfubench.measure.train_step import TrainStep
from mfubench.measure.workload import Workload
from mfubench.script.run import TrainingRun
from mfubench.suite.outcomes import CaseResult
from mfubench.suite.runner import CaseRunner
from mfubench.timing import time_s

ALLOWED_OVERHEAD = 0.005


def measure_overhead(runner: CaseRunner, workload: Workload, *, device: str) -> CaseResult:
    """The same step with the hooks of `mfubench run` in place and without them, in turn."""
    record = runner.train_record("harness", workload, device, "float32", False)
    record.case_id = record.case_id.replace("harness/", "harness/script-hooks-", 1)
    with runner.recorded(record) as result, matmul_precision("float32"):
        step = runner.prepare(record, workload, TrainStep)
        warm = runner.warm(record, step)
        bare = bare_step(step)
        bare_s: list[float] = []
        watching: list[TrainingRun] = []

        def without_then_with() -> None:
            while watching:
                watching.pop().stop()
            bare_s.append(time_s(bare))
            run = TrainingRun()
            run.start()
            run._to_count.clear()  # hooks only: counting is for two steps of a whole run
            run._set_alarm()
            watching.append(run)

        try:
            paired = runner.pair_with_bare(
                record, step, warm, bare, bare_s, before=without_then_with
            )
        finally:
            while watching:
                watching.pop().stop()
        if paired.low > 1 + ALLOWED_OVERHEAD:
            runner.refuse(
                f"the hooks slow the step by {paired.ratio - 1:.2%} "
                f"(95 % interval from {paired.low - 1:.2%}; allowed: {ALLOWED_OVERHEAD:.1%})"
            )
    return result
