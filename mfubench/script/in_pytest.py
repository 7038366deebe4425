"""Scripts as cases of a pytest run, and the benchmark of what watching a script costs."""

from __future__ import annotations

import shlex
import statistics
import subprocess
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfubench.analysis import rates
from mfubench.analysis.paired import paired_ratio
from mfubench.measure.bare import bare_step
from mfubench.measure.train_step import TrainStep, matmul_precision
from mfubench.measure.warmup import rounds_for
from mfubench.measure.workload import Workload
from mfubench.results.read import read_result
from mfubench.results.record import CaseRecord, Outcome
from mfubench.script.run import TrainingRun
from mfubench.suite.outcomes import CaseEnded
from mfubench.timing import time_s

if TYPE_CHECKING:
    from mfubench.suite.runner import CaseRunner

ALLOWED_OVERHEAD = 0.005


def measure_script(runner: CaseRunner, typed: str) -> None:
    """Run a script as `mfubench run` does, in a process of its own, and make its record and its
    rounds those of this test."""
    words = shlex.split(typed)
    name = Path(words[0]).name if words else "nothing"
    record = CaseRecord(case_id=f"script/{name}", question="script", device="cpu", preset=name)
    with runner._recorded(record), tempfile.TemporaryDirectory(prefix="mfubench-script-") as folder:
        runner.session.progress.phase(f"running {typed}")
        status = _run(words, Path(folder), runner.session.machine_dir.parent)
        saved = sorted(Path(folder).rglob("[0-9]*_*.json"))
        if not saved:
            raise CaseEnded(Outcome.ERROR, f"{typed!r} left no record (exit status {status})")
        result = read_result(saved[-1])
        _take(record, dict(result.infos[0]))
        if record.outcome is not Outcome.OK:
            raise CaseEnded(record.outcome, record.outcome_reason or "no reason was given")
        _replay(runner, result.data["benchmarks"][0]["stats"]["data"])


def _run(words: list[str], folder: Path, results_dir: Path) -> int:
    """The script's own output goes where pytest's goes; ceilings come from this run's folder."""
    ceilings = next(results_dir.glob("*/ceilings.json"), None)
    if ceilings is not None:
        copy = folder / ceilings.parent.name / ceilings.name
        copy.parent.mkdir(parents=True)
        copy.write_bytes(ceilings.read_bytes())
    command = [sys.executable, "-m", "mfubench", "run", "--results-dir", str(folder), *words]
    return subprocess.run(command, check=False).returncode


def _take(record: CaseRecord, info: dict[str, Any]) -> None:
    names = {field.name for field in fields(CaseRecord)} - {"extra"}
    for name in names & info.keys():
        setattr(record, name, info[name])
    record.outcome = Outcome(info["outcome"])
    record.extra |= {name: value for name, value in info.items() if name not in names}


def _replay(runner: CaseRunner, rounds_s: list[float]) -> None:
    """Give pytest-benchmark the rounds that were timed elsewhere."""
    benchmark: Any = runner.benchmark
    benchmark.group = "script"
    if benchmark.disabled:
        return
    benchmark.stats = benchmark._make_stats(1)
    for seconds in rounds_s:
        benchmark.stats.update(seconds)


def measure_overhead(runner: CaseRunner, workload: Workload, *, device: str) -> None:
    """The same step with the hooks of `mfubench run` in place and without them, in turn."""
    record = runner._train_record("harness", workload, device, "float32", False)
    record.case_id = record.case_id.replace("harness/", "harness/script-hooks-", 1)
    with runner._recorded(record), matmul_precision("float32"):
        step = runner._prepare(record, workload, TrainStep)
        warm = runner._warm(record, step)
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

        pairs = rounds_for(2 * warm.steady_s, 3 * runner.session.options.plan.rounds_budget_s)
        try:
            rounds_s = runner._rounds(record, bare, pairs, before=without_then_with)
        finally:
            while watching:
                watching.pop().stop()
        runner._refuse(rates.refuse_times(rounds_s))
        record.step_s = statistics.median(rounds_s)
        record.step_spread_ratio = rates.spread_ratio(rounds_s)
        runner._account(record, step, workload.cost("float32", step.device.kind))
        paired = paired_ratio(rounds_s, bare_s)
        record.extra |= {
            "harness_ratio": paired.ratio,
            "harness_ratio_low": paired.low,
            "harness_ratio_high": paired.high,
            "harness_pairs": paired.pairs,
            "bare_rounds_s": bare_s,
        }
        if paired.low > 1 + ALLOWED_OVERHEAD:
            runner._refuse(
                f"the hooks slow the step by {paired.ratio - 1:.2%} "
                f"(95 % interval from {paired.low - 1:.2%}; allowed: {ALLOWED_OVERHEAD:.1%})"
            )
