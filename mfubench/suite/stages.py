"""The stages that every case goes through: prepare, warm, time, guard, account, record.

This is the only place that turns failures into outcomes. Whatever happens, the case ends with a
record.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast

import torch

from mfubench.analysis import rates
from mfubench.hardware.devices import Device
from mfubench.measure.failures import classify
from mfubench.measure.precision import refusal
from mfubench.measure.train_step import TrainStep, unmarked
from mfubench.measure.warmup import WARM_S, WarmUp, rounds_for, warm_until_steady
from mfubench.measure.windows import Window, steps_per_window
from mfubench.measure.workload import StepCost, Workload
from mfubench.pairs.side import SideError
from mfubench.results.answers import GateLimits
from mfubench.results.case_id import CaseId
from mfubench.results.outcomes import Dtype, Outcome, Question
from mfubench.results.record import CaseRecord
from mfubench.suite.outcomes import CaseEnded, CaseResult
from mfubench.suite.session import BenchSession
from mfubench.suite.timer import Run, Timer
from mfubench.timing import time_s

Step = TypeVar("Step", bound=TrainStep)

GROWTH_TRIES = 3
GROWTH_S = 0.2
"""One step and several take turns for this long, and at least `GROWTH_TRIES` times: of a step of a
millisecond three tries can all fall into a moment in which another program has the core."""
TIMING_IS_OFF = "timing is switched off (--benchmark-disable)"
LOSS_STEP = 10
"""The training loss is recorded after this many steps from the seed, so that runs compare."""


class CaseStages:
    """What `CaseRunner`'s questions are made of."""

    def __init__(
        self, session: BenchSession, timer: Timer, *, gate: Mapping[str, float] | None = None
    ) -> None:
        self.session = session
        self.timer = timer
        self.gate = gate
        """The gate's limits for this test's training cases, from its marker."""

    def new_record(self, case: CaseId, **known: Any) -> CaseRecord:
        """The record of a case of which nothing is measured yet."""
        assert case.question is not None
        return CaseRecord(
            case_id=str(case),
            question=cast(Question, case.question),
            preset=case.preset,
            device=case.device,
            dtype=cast(Dtype | None, case.dtype),
            batch_size=case.batch_size,
            compile=case.compile,
            threads=self.session.threads,
            **known,
        )

    def train_record(
        self, question: str, workload: Workload, device: str, dtype: str, compile: bool
    ) -> CaseRecord:
        case = CaseId(
            question=question,
            preset=workload.name,
            device=device,
            dtype=dtype,
            batch_size=workload.batch_size,
            compile=compile,
        )
        gate = GateLimits(**self.gate) if self.gate else None
        return self.new_record(case, block_size=workload.block_size, gate=gate)

    def present_device(self, record: CaseRecord) -> Device:
        """The device of a case. Raises CaseEnded where it is not on this machine."""
        device = self.session.device(record.device)
        reason = device.unavailable_reason()
        if reason is not None:
            raise CaseEnded(Outcome.UNAVAILABLE, reason)
        return device

    def refuse_dtype(self, device: Device, dtype: str | None) -> None:
        """Raise CaseEnded for a dtype that the device cannot use."""
        reason = device.unsupported_reason(dtype) if dtype is not None else None
        if reason is not None:
            raise CaseEnded(Outcome.UNSUPPORTED, reason)

    def _refuse_precision(self, record: CaseRecord, device: Device, dtype: str) -> None:
        """Look at what a matrix product's error says of the format that it really ran in; the
        settings that choose it are many, and some are not torch's."""
        error_ratio = self.session.product_error_ratio(device, dtype)
        record.matmul_error_ratio = error_ratio
        reason = refusal(dtype, error_ratio) if error_ratio is not None else None
        if reason is not None:
            raise CaseEnded(Outcome.UNSUPPORTED, reason)

    def prepare(
        self,
        record: CaseRecord,
        workload: Workload,
        make: type[Step],
        *,
        compile_options: dict[str, Any] | None = None,
    ) -> Step:
        """Build the step, unless the device, the dtype or the memory says no."""
        assert record.dtype is not None
        device = self.present_device(record)
        self.refuse_dtype(device, record.dtype)
        record.predicted_memory_bytes = workload.cost(record.dtype, device.kind).memory_bytes
        self._refuse_memory(record, device)
        if record.compile:
            # Else torch takes the second batch size as a sign that sizes vary, and compiles
            # slower kernels for any size; every case is to be compiled as if it were alone.
            torch._dynamo.reset()
        self.session.first_use(device)
        self._refuse_precision(record, device, record.dtype)
        gc.collect()  # what an earlier case that failed still holds would count as this one's
        device.reset_peak_memory()
        self.session.progress.phase(f"building {record.case_id}")
        return make(
            workload,
            device,
            dtype=record.dtype,
            compile=bool(record.compile),
            compile_options=compile_options,
        )

    def _refuse_memory(self, record: CaseRecord, device: Device) -> None:
        """On a CPU the system kills a process that takes too much: refuse before, by prediction."""
        need = record.predicted_memory_bytes
        if device.kind != "cpu" or need is None:
            return
        free = device.available_memory_bytes()
        if free is not None and need > 0.95 * free:
            raise CaseEnded(
                Outcome.OUT_OF_MEMORY,
                f"batch {record.batch_size} needs about {need / 2**30:.1f} GiB (predicted) and "
                f"{free / 2**30:.1f} GiB are free; choose a smaller one with --batch-sizes",
            )

    def warm(self, record: CaseRecord, step: TrainStep) -> WarmUp:
        """Warm until steady; note the loss at the agreed step; guard that time grows with work."""
        what = "compiling and warming up" if record.compile else "warming up"
        self.session.progress.phase(f"{what} {record.case_id}")

        def note_loss(steps: int) -> None:
            if steps <= LOSS_STEP:
                record.loss, record.loss_step = float(step.last_loss), steps

        least_s = WARM_S if step.device.has_queue else 0.0
        warm = warm_until_steady(
            step,
            budget_s=max(self.session.options.plan.warmup_budget_s, least_s),
            least_s=least_s,
            min_steps=LOSS_STEP,
            after_step=note_loss,
        )
        record.warmup_s, record.warmup_steps = warm.total_s, len(warm.times_s)
        record.steady = warm.steady
        record.compile_s = warm.start_up_s if record.compile else None
        if record.compile:
            step.device.restart_peak_memory()  # the compiler's memory is not the step's
        if warm.steady_s < 0.5:  # a longer step has shown that it takes time
            single_s: list[float] = []
            several_s: list[float] = []
            while len(single_s) < GROWTH_TRIES or sum(single_s) + sum(several_s) < GROWTH_S:
                single_s.append(time_s(step))
                several_s.append(time_s(lambda: _run(step, rates.GROWTH_STEPS)))
            self.refuse(rates.refuse_growth(single_s, several_s))
        return warm

    def _time_step(self, record: CaseRecord, step: TrainStep, warm: WarmUp) -> None:
        calls = steps_per_window(step.device, warm.steady_s)
        rounds = rounds_for(calls * warm.steady_s, self.session.options.plan.rounds_budget_s)
        record.steps_per_round = calls if calls > 1 else None
        rounds_s = self.time_rounds(record, Window(step, calls), rounds, calls=calls)
        self.refuse(rates.refuse_times(rounds_s))
        self.refuse(rates.refuse_loss(float(step.last_loss)))
        self.refuse(rates.refuse_loss(record.loss))
        record.step_s = statistics.median(rounds_s)
        record.step_spread_ratio = rates.spread_ratio(rounds_s)
        if step.device.has_queue:
            for _ in range(calls):
                step.iterate(unmarked)
            record.device_state = step.device.state() or None  # while it works
            step()  # and wait for all of it
        record.peak_memory_bytes = step.device.peak_memory_bytes()
        record.peak_reserved_bytes = step.device.peak_reserved_bytes()

    def time_rounds(
        self,
        record: CaseRecord,
        run: Run,
        rounds: int,
        *,
        calls: int = 1,
        before: Run | None = None,
    ) -> list[float]:
        """Seconds of each round, per call; every round is kept. `before` runs untimed before each.

        Raises CaseEnded where timing is switched off.
        """
        self.session.progress.phase(f"timing {rounds} rounds of {record.case_id}")
        self.timer.time(run, rounds=rounds, calls=calls, before=before)
        self.refuse_disabled()
        rounds_s = self.timer.rounds_s
        record.rounds = len(rounds_s)
        return rounds_s

    def refuse_disabled(self) -> None:
        """Raise CaseEnded where timing is switched off."""
        if self.timer.disabled:
            raise CaseEnded(Outcome.UNAVAILABLE, TIMING_IS_OFF)

    def account(self, record: CaseRecord, step: TrainStep, cost: StepCost) -> None:
        """Rates and shares from the median round, unless the ceiling says that it cannot be."""
        assert record.step_s is not None
        assert record.dtype is not None
        device = step.device
        record.peak_flops_per_s, record.peak_source = device.peak(record.dtype)
        ceiling = self.session.gemm_ceiling(device, record.dtype)
        achieved = cost.model_flops / record.step_s
        for renew in (True, False):
            if ceiling is None:
                break
            reason = rates.refuse_rate(achieved, ceiling.rate_per_s, ceiling.noise_ratio)
            if reason is None:
                break
            if renew:  # perhaps the ceiling was measured in a slow moment: look again once
                ceiling = self.session.gemm_ceiling(device, record.dtype, renew=True)
            else:
                self.refuse(reason)
        if ceiling is not None:
            record.ceiling_flops_per_s = ceiling.rate_per_s
            record.ceiling_noise_ratio = ceiling.noise_ratio
            record.ceiling_age_s = ceiling.age_s()
        rates.fill_rates(
            record,
            tokens=cost.tokens,
            model_flops=cost.model_flops,
            hardware_flops=cost.hardware_flops,
            palm_flops=cost.palm_flops,
            nanogpt_flops=cost.nanogpt_flops,
            flops_source=cost.source,
        )
        record.outcome = Outcome.OK

    @staticmethod
    def refuse(reason: str | None) -> None:
        if reason is not None:
            raise CaseEnded(Outcome.INVALID, reason)

    # --- outcomes ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def recorded(self, record: CaseRecord) -> Iterator[CaseResult]:
        """Whatever happens inside ends as an outcome of the record; errors stay in the result."""
        __tracebackhide__ = True  # where an error passes through, this frame says nothing
        result = CaseResult(record)
        try:
            yield result
        except (CaseEnded, SideError) as end:
            record.outcome, record.outcome_reason = end.outcome, end.reason
        except KeyboardInterrupt as interrupt:
            record.outcome = Outcome.INTERRUPTED
            record.outcome_reason = "interrupted before its last round"
            result.error = interrupt
        except Exception as error:
            record.outcome, record.outcome_reason = classify(error, compiled=bool(record.compile))
            result.error = error if record.outcome is Outcome.ERROR else None
        result.rounds_s = self.timer.rounds_s
        if record.outcome is not Outcome.OK:
            if result.rounds_s:
                record.rounds_s = result.rounds_s
            record.withhold()


def _run(step: Callable[[], None], times: int) -> None:
    for _ in range(times):
        step()
