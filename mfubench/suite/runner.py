"""The questions that a benchmark can ask of a case."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable
from typing import Any

import msgspec

from mfubench.analysis import rates
from mfubench.analysis.paired import PairedRatio, paired_ratio
from mfubench.hardware.devices import Device
from mfubench.measure.bare import bare_step
from mfubench.measure.precision import matmul_precision
from mfubench.measure.train_loop import TrainLoop
from mfubench.measure.train_step import TrainStep
from mfubench.measure.warmup import WarmUp, rounds_for
from mfubench.measure.workload import Workload
from mfubench.results.answers import TriedShape
from mfubench.results.case_id import CaseId
from mfubench.results.outcomes import Outcome
from mfubench.results.record import CaseRecord
from mfubench.suite.breakdown import COMPILE_OPTIONS, take_account
from mfubench.suite.outcomes import CaseResult
from mfubench.suite.stages import CaseStages
from mfubench.suite.timer import Run
from mfubench.timing import time_s

HARNESS_TOLERANCE = 0.01


class CaseRunner(CaseStages):
    """Measures a case. Every question returns its record, whatever happens; none raises."""

    def train_step(
        self, workload: Workload, *, device: str, dtype: str, compile: bool
    ) -> CaseResult:
        """Time one optimizer step per round, on data that is already on the device."""
        record = self.train_record("train-step", workload, device, dtype, compile)
        with self.recorded(record) as result, matmul_precision(dtype):
            self._measure(record, self.prepare(record, workload, TrainStep))
        return result

    def train_loop(
        self, workload: Workload, *, device: str, dtype: str, compile: bool
    ) -> CaseResult:
        """Time one iteration of nanoGPT's loop per round; evaluation and checkpoint apart."""
        record = self.train_record("train-loop", workload, device, dtype, compile)
        with self.recorded(record) as result, matmul_precision(dtype):
            loop = self.prepare(record, workload, TrainLoop)
            with contextlib.closing(loop):
                self._measure_loop(record, loop)
        return result

    def breakdown(
        self,
        workload: Workload,
        *,
        device: str,
        dtype: str,
        compile: bool,
        loop: bool = False,
        check: bool = True,
    ) -> CaseResult:
        """Time a step (or a loop's iteration) and account for where its time goes.

        `check` takes components out as well, to see whether the account is right.
        """
        question = "breakdown-loop" if loop else "breakdown"
        record = self.train_record(question, workload, device, dtype, compile)
        with self.recorded(record) as result, matmul_precision(dtype):
            options = COMPILE_OPTIONS if compile and device == "cpu" else None
            if loop:
                target = self.prepare(record, workload, TrainLoop, compile_options=options)
                with contextlib.closing(target):
                    self._measure_loop(record, target)
                    take_account(self.session, record, target, check=check)
            else:
                step = self.prepare(record, workload, TrainStep, compile_options=options)
                self._measure(record, step)
                take_account(self.session, record, step, check=check)
        return result

    def _measure(self, record: CaseRecord, step: TrainStep) -> WarmUp:
        """Warm, time and account for the rates of a step."""
        assert record.dtype is not None
        warm = self.warm(record, step)
        self._time_step(record, step, warm)
        self.account(record, step, step.workload.cost(record.dtype, step.device.kind))
        return warm

    def _measure_loop(self, record: CaseRecord, loop: TrainLoop) -> None:
        """The same for an iteration, and what evaluation and checkpoint add to it."""
        warm = self._measure(record, loop)
        assert record.step_s is not None
        self.session.progress.phase("timing evaluation and checkpoint")
        amortised = loop.time_evaluation_and_checkpoint(
            budget_s=self.session.options.plan.rounds_budget_s / 2
        )
        iteration_s = amortised.iteration_s(record.step_s)
        settings = loop.workload.loop
        record.max_iters = settings.max_iters
        record.eval_interval = settings.eval_interval
        record.eval_iters = settings.eval_iters
        record.log_interval = settings.log_interval
        record.evaluation_s = amortised.evaluation_s
        record.evaluation_batches_timed = amortised.evaluation_batches_timed
        record.checkpoint_s = amortised.checkpoint_s
        record.iteration_amortised_s = iteration_s
        record.predicted_training_s = settings.max_iters * iteration_s + warm.start_up_s

    def answer(self, record: CaseRecord, run: Callable[[], None]) -> CaseResult:
        """Ask a question whose answer is no step time: `run` fills the record.

        Its one round is the time that the answer took. CaseEnded and SideError from `run` end as
        the outcomes that they carry.
        """
        with self.recorded(record) as result:
            self.refuse_disabled()
            self.time_rounds(record, run, 1)
            record.outcome = Outcome.OK
        return result

    def ceiling(
        self, kind: str, *, device: str, dtype: str | None, make: Callable[[Device], Any]
    ) -> CaseResult:
        """Time a ceiling kernel and keep its best sustained rate.

        `make(device)` builds the kernel, and may search for the best one.
        """
        case = CaseId(question="ceiling", kernel=kind, device=device, dtype=dtype)
        record = self.new_record(case)
        with self.recorded(record) as result, matmul_precision(dtype or "float32"):
            target = self.present_device(record)
            self.refuse_dtype(target, dtype)
            self.session.first_use(target)
            if dtype is not None:
                self._refuse_precision(record, target, dtype)
            self.session.progress.phase(f"searching the best {kind} of {device}")
            kernel, *search = make(target)
            kernel.run()
            budget_s = self.session.options.plan.ceiling_budget_s
            rounds = rounds_for(time_s(kernel.run), budget_s, least=10)
            rounds_s = self.time_rounds(record, kernel.run, rounds)
            measured, kept = self.session.keep_ceiling(kernel, target, dtype, rounds_s)
            record.outcome = Outcome.OK
            record.step_s = statistics.median(rounds_s)
            record.ceiling_kind, record.ceiling_unit = kind, kernel.unit
            record.ceiling_rate_per_s = measured.rate_per_s
            record.ceiling_kept_rate_per_s = kept.rate_per_s
            record.work_per_round = kernel.work
            for name, value in kernel.detail.items():
                setattr(record, name, value)
            record.search = msgspec.convert(search[0], list[TriedShape]) if search else None
            self.session.ceiling_records.setdefault(kept.key, []).append(record)
            record.ceiling_noise_ratio = measured.noise_ratio
            record.ceiling_age_s = kept.age_s()
            if kind == "gemm" and dtype is not None:
                record.achieved_flops_per_s = kernel.work / record.step_s
                record.peak_flops_per_s, record.peak_source = target.peak(dtype)
                record.ceiling_flops_per_s = kept.rate_per_s
                record.mfu = rates.ratio(record.achieved_flops_per_s, record.peak_flops_per_s)
                record.ceiling_utilisation = rates.ratio(
                    record.achieved_flops_per_s, record.ceiling_flops_per_s
                )
        return result

    def harness(self, workload: Workload, *, device: str) -> CaseResult:
        """Time the step through the benchmark and in a bare loop, in turn, in one run."""
        record = self.train_record("harness", workload, device, "float32", False)
        with self.recorded(record) as result, matmul_precision("float32"):
            step = self.prepare(record, workload, TrainStep)
            warm = self.warm(record, step)
            bare = bare_step(step)
            bare_s: list[float] = []
            paired = self.pair_with_bare(
                record, step, warm, step, bare_s, before=lambda: bare_s.append(time_s(bare))
            )
            if paired.low > 1 + HARNESS_TOLERANCE:
                self.refuse(
                    f"the harness slows the step by {paired.ratio - 1:.1%} "
                    f"(95 % interval from {paired.low - 1:.1%}; allowed: {HARNESS_TOLERANCE:.0%})"
                )
        return result

    def pair_with_bare(
        self,
        record: CaseRecord,
        step: TrainStep,
        warm: WarmUp,
        run: Run,
        bare_s: list[float],
        *,
        before: Run,
    ) -> PairedRatio:
        """Time `run` in turn with a bare step, and fill the record of the comparison.

        `before` times the bare step, untimed itself, and adds its seconds to `bare_s`.
        """
        pairs = rounds_for(2 * warm.steady_s, 3 * self.session.options.plan.rounds_budget_s)
        rounds_s = self.time_rounds(record, run, pairs, before=before)
        self.refuse(rates.refuse_times(rounds_s))
        record.step_s = statistics.median(rounds_s)
        record.step_spread_ratio = rates.spread_ratio(rounds_s)
        self.account(record, step, step.workload.cost("float32", step.device.kind))
        paired = paired_ratio(rounds_s, bare_s)
        record.harness_ratio, record.harness_pairs = paired.ratio, paired.pairs
        record.harness_ratio_low, record.harness_ratio_high = paired.low, paired.high
        record.bare_rounds_s = bare_s
        return paired
