"""The questions that a benchmark can ask of a case."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable
from typing import Any

from mfubench_model.presets import get_preset

from mfubench.analysis import rates
from mfubench.analysis.effect import HELPS
from mfubench.analysis.paired import paired_ratio
from mfubench.hardware.devices import Device
from mfubench.knobs.bench import KnobBench
from mfubench.knobs.catalogue import KNOBS_BY_NAME
from mfubench.measure.bare import bare_step
from mfubench.measure.loop_config import LoopConfig
from mfubench.measure.train_loop import TrainLoop
from mfubench.measure.train_step import TrainStep, matmul_precision
from mfubench.measure.warmup import WarmUp, rounds_for
from mfubench.measure.workload import Workload
from mfubench.pairs.pairing import FINE_TURN_S, TURNS, TURNS_PER_BUILD, Pairing
from mfubench.pairs.side import SideError
from mfubench.results.record import CaseRecord, Outcome, case_id
from mfubench.suite.breakdown import COMPILE_OPTIONS, take_account
from mfubench.suite.outcomes import CaseEnded
from mfubench.suite.stages import TIMING_IS_OFF, CaseStages
from mfubench.timing import time_s

HARNESS_TOLERANCE = 0.01
LONGEST_STEP_S = 1.0
"""A longer step is measured in one pair of processes: eight would take hours, and memory."""


class CaseRunner(CaseStages):
    """Runs cases for one test function."""

    def train_step(self, workload: Workload, *, device: str, dtype: str, compile: bool) -> None:
        """Time one optimizer step per round, on data that is already on the device."""
        record = self._train_record("train-step", workload, device, dtype, compile)
        with self._recorded(record), matmul_precision(dtype):
            self._measure(record, self._prepare(record, workload, TrainStep))

    def train_loop(self, workload: Workload, *, device: str, dtype: str, compile: bool) -> None:
        """Time one iteration of nanoGPT's loop per round; evaluation and checkpoint apart."""
        record = self._train_record("train-loop", workload, device, dtype, compile)
        with self._recorded(record), matmul_precision(dtype):
            loop = self._prepare(record, workload, TrainLoop)
            with contextlib.closing(loop):
                self._measure_loop(record, loop)

    def breakdown(
        self,
        workload: Workload,
        *,
        device: str,
        dtype: str,
        compile: bool,
        loop: bool = False,
        check: bool = True,
    ) -> None:
        """Time a step (or a loop's iteration) and account for where its time goes.

        `check` takes components out as well, to see whether the account is right.
        """
        question = "breakdown-loop" if loop else "breakdown"
        record = self._train_record(question, workload, device, dtype, compile)
        with self._recorded(record), matmul_precision(dtype):
            options = COMPILE_OPTIONS if compile and device == "cpu" else None
            if loop:
                target = self._prepare(record, workload, TrainLoop, compile_options=options)
                with contextlib.closing(target):
                    self._measure_loop(record, target)
                    take_account(self.session, record, target, check=check)
            else:
                step = self._prepare(record, workload, TrainStep, compile_options=options)
                self._measure(record, step)
                take_account(self.session, record, step, check=check)

    def _measure(self, record: CaseRecord, step: TrainStep) -> WarmUp:
        """Warm, time and account for the rates of a step."""
        assert record.dtype is not None
        warm = self._warm(record, step)
        self._time(record, step, warm)
        self._account(record, step, step.workload.cost(record.dtype, step.device.kind))
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
        record.extra |= {
            "max_iters": settings.max_iters,
            "eval_interval": settings.eval_interval,
            "eval_iters": settings.eval_iters,
            "log_interval": settings.log_interval,
            "evaluation_s": amortised.evaluation_s,
            "evaluation_batches_timed": amortised.evaluation_batches_timed,
            "checkpoint_s": amortised.checkpoint_s,
            "iteration_amortised_s": iteration_s,
            "predicted_training_s": settings.max_iters * iteration_s + warm.start_up_s,
        }

    def knob(self, name: str, *, preset: str, device: str) -> None:
        """Turn one knob, in pairs against nanoGPT's own loop, each side in its own process."""
        knob = KNOBS_BY_NAME[name]
        batch_size = get_preset(preset).batch_size
        setting = case_id("knob", preset=preset, device=device, dtype="float32")
        record = CaseRecord(
            case_id=f"{setting}/{name.replace(' ', '-')}",
            question="knob",
            preset=preset,
            device=device,
            dtype="float32",
            batch_size=batch_size,
            threads=self.session.threads,
        )
        record.extra["knob"] = {
            "name": name,
            "before": knob.before,
            "after": knob.after,
            "nanogpt": knob.nanogpt,
            "pytorch": knob.pytorch,
            "changes_numerics": knob.changes_numerics,
        }
        with self._recorded(record):
            self._present(record)
            bench = self.session.knob_bench(preset, device)
            reason = knob.inapplicable(bench.machine)
            if reason is not None:
                raise CaseEnded(Outcome.UNSUPPORTED, reason)
            self.session.progress.phase(f"starting {name}")
            try:
                turns = self._knob_turns(record, bench, bench.config_of(knob))
            except SideError as error:
                raise CaseEnded(error.outcome, error.reason) from None
            record.extra["knob"] |= turns.as_data()
            record.tokens_per_step = turns.tokens_per_step
            record.tokens_per_s = 1 / statistics.median(turns.s_per_token)
            record.step_s = record.tokens_per_step / record.tokens_per_s
            record.outcome = Outcome.OK

    def _knob_turns(self, record: CaseRecord, bench: KnobBench, config: LoopConfig) -> Pairing:
        """The turns of a configuration, and where the time was taken from where it helps. Raises
        SideError."""
        several = (
            config.compile == "no"  # compiling in each process would take minutes
            and bench.allocator_states_differ
            and bench.base_step_s() < LONGEST_STEP_S
        )
        with contextlib.ExitStack() as started:
            if several:
                pairs = started.enter_context(bench.process_pairs_with(config))
                self._rounds(record, pairs.turn, pairs.turns, before=pairs.prepare)
                turns = pairs
            else:
                turns = self._turns_of_builds(record, bench, config, started)
            if turns.effect().verdict == HELPS:
                self.session.progress.phase("profiling both sides")
                turns.profile()
        return turns

    def _turns_of_builds(
        self,
        record: CaseRecord,
        bench: KnobBench,
        config: LoopConfig,
        started: contextlib.ExitStack,
    ) -> Pairing:
        """Loops built anew between turns. What compiles stays as it is, and has two processes, cold
        and warm, that take half the turns each."""
        again = [bench.launch(config.steadied)] if config.compile != "no" else []
        for worker in again:
            started.enter_context(worker)
        turns = started.enter_context(bench.turns_with(config, beside=again, turn_s=FINE_TURN_S))
        turns.turns_per_build = TURNS_PER_BUILD

        def prepare() -> None:
            if again and len(turns.s_per_token) == TURNS // 2:
                turns.warm_start_up_s, _ = again[0].wait().warm(steps=4)
                turns.candidate.side = again.pop()
            turns.prepare()

        self._rounds(record, turns.turn, TURNS, before=prepare)
        return turns

    def answer(self, record: CaseRecord, run: Callable[[], None]) -> None:
        """Ask a question whose answer is no step time: `run` fills the record.

        Its one round is the time that the answer took. CaseEnded and SideError from `run` end as
        the outcomes that they carry.
        """
        with self._recorded(record):
            if self.benchmark.disabled:
                raise CaseEnded(Outcome.UNAVAILABLE, TIMING_IS_OFF)
            try:
                self._rounds(record, run, 1)
            except SideError as error:
                raise CaseEnded(error.outcome, error.reason) from None
            record.outcome = Outcome.OK

    def ceiling(
        self, kind: str, *, device: str, dtype: str | None, make: Callable[[Device], Any]
    ) -> None:
        """Time a ceiling kernel and keep its best sustained rate.

        `make(device)` builds the kernel, and may search for the best one.
        """
        record = CaseRecord(
            case_id=case_id(f"ceiling/{kind}", device=device, dtype=dtype),
            question="ceiling",
            device=device,
            dtype=dtype,
            threads=self.session.threads,
        )
        with self._recorded(record), matmul_precision(dtype or "float32"):
            target = self._present(record)
            self._refuse_dtype(target, dtype)
            self.session.first_use(target)
            self.session.progress.phase(f"searching the best {kind} of {device}")
            kernel, *search = make(target)
            kernel.run()
            budget_s = self.session.options.plan.ceiling_budget_s
            rounds = rounds_for(time_s(kernel.run), budget_s, least=10)
            rounds_s = self._rounds(record, kernel.run, rounds)
            measured, kept = self.session.keep_ceiling(kernel, target, dtype, rounds_s)
            record.outcome = Outcome.OK
            record.step_s = statistics.median(rounds_s)
            record.extra |= {
                "ceiling_kind": kind,
                "ceiling_unit": kernel.unit,
                "ceiling_rate_per_s": measured.rate_per_s,
                "ceiling_kept_rate_per_s": kept.rate_per_s,
                "work_per_round": kernel.work,
                **kernel.detail,
            }
            if search:
                record.extra["search"] = search[0]
            infos = self.session.ceiling_infos.setdefault(kept.key, [])
            infos += [record.extra, self.benchmark.extra_info]
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

    def harness(self, workload: Workload, *, device: str) -> None:
        """Time the step through the benchmark and in a bare loop, in turn, in one run."""
        record = self._train_record("harness", workload, device, "float32", False)
        with self._recorded(record), matmul_precision("float32"):
            step = self._prepare(record, workload, TrainStep)
            warm = self._warm(record, step)
            bare = bare_step(step)
            bare_s: list[float] = []
            pairs = rounds_for(2 * warm.steady_s, 3 * self.session.options.plan.rounds_budget_s)
            rounds_s = self._rounds(record, step, pairs, before=lambda: bare_s.append(time_s(bare)))
            self._refuse(rates.refuse_times(rounds_s))
            record.step_s = statistics.median(rounds_s)
            record.step_spread_ratio = rates.spread_ratio(rounds_s)
            self._account(record, step, workload.cost("float32", step.device.kind))
            paired = paired_ratio(rounds_s, bare_s)
            record.extra |= {
                "harness_ratio": paired.ratio,
                "harness_ratio_low": paired.low,
                "harness_ratio_high": paired.high,
                "harness_pairs": paired.pairs,
                "bare_rounds_s": bare_s,
            }
            if paired.low > 1 + HARNESS_TOLERANCE:
                self._refuse(
                    f"the harness slows the step by {paired.ratio - 1:.1%} "
                    f"(95 % interval from {paired.low - 1:.1%}; allowed: {HARNESS_TOLERANCE:.0%})"
                )
