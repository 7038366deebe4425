"""The breakdown of a case: timed, profiled, its matmuls timed alone, and checked by ablation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from mfubench.analysis.account import Account, build_account, with_ablations
from mfubench.measure import ablation
from mfubench.measure.bandwidth import measure_curve
from mfubench.measure.failures import classify
from mfubench.measure.gemms import capture_gemms, time_alone
from mfubench.measure.profile_rows import operators
from mfubench.measure.profiler_events import ProfileError
from mfubench.measure.profiling import Profile, profile_step, save_trace
from mfubench.measure.train_loop import TrainLoop
from mfubench.measure.train_step import TrainStep
from mfubench.measure.warmup import rounds_for
from mfubench.results.outcomes import known
from mfubench.results.record import CaseRecord

if TYPE_CHECKING:
    from mfubench.suite.session import BenchSession

COMPILE_OPTIONS = {"cpp.enable_kernel_profile": True}
"""Generated C++ kernels then name themselves to the profiler."""

SAME_SPEED = 1.15
"""Timed and profiled steps whose medians differ by a larger factor are not of one machine state."""

KEPT_OPERATORS = 60
LONG_STEP_S = 2.0
"""Ablation takes tens of steps per component; longer steps are not checked by it."""


def take_account(
    session: BenchSession, record: CaseRecord, step: TrainStep, *, check: bool = True
) -> None:
    """Add the account of a timed step to its record; says in the record why where it cannot.

    `check` takes components out of eager steps, which is most of the time that an account takes.
    """
    assert record.dtype is not None
    device, workload = step.device, step.workload
    ceiling = session.gemm_ceiling(device, record.dtype)
    if record.step_s is None or ceiling is None or record.model_flops_per_step is None:
        record.breakdown_problem = "without a measured ceiling there is no account"
        return
    session.progress.phase(f"profiling {record.case_id}")
    on_host = device.kind == "cpu"
    try:
        look = _profile_at_speed if on_host else _profile_of_kernels
        profile = look(step, record.step_s)
    except ProfileError as error:
        record.breakdown_problem = str(error)
        return
    finally:
        if (trace := session.options.save_trace) is not None:
            _attempt(record, "trace", lambda: save_trace(step, trace))
    session.progress.phase(f"timing the matrix products of {record.case_id} alone")
    alone_s = _attempt(record, "matrix products alone", lambda: _alone_s(step))
    curve = _attempt(record, "bandwidth by working set", lambda: measure_curve(device))
    outside = {}
    step_s = record.step_s
    if record.eval_interval and record.evaluation_s is not None:
        outside = {
            "evaluation": record.evaluation_s / record.eval_interval,
            "checkpoint": known(record.checkpoint_s) / record.eval_interval,
        }
        step_s += sum(outside.values())
    account = build_account(
        operators(profile, on_host=on_host, device_step_s=record.step_s),
        step_s=step_s,
        # Kernels take as long with a profiler as without, so that they are not scaled.
        profiled_step_s=profile.step_s if on_host else record.step_s,
        model_flops=record.model_flops_per_step,
        peak_flops_per_s=record.peak_flops_per_s,
        ceiling_flops_per_s=ceiling.rate_per_s,
        gemm_alone_s=alone_s,
        costs=workload.component_costs(record.dtype) if curve is not None else {},
        bandwidth=curve.at if curve is not None else lambda _: float("inf"),
        outside=outside,
    )
    if check and not record.compile:
        savings = _attempt(record, "ablation", lambda: _savings_s(session, record, step))
        account = with_ablations(account, savings or {})
    keep(record, account, profile, iteration_s=account.step_s - sum(outside.values()))


Result = TypeVar("Result")


def _attempt(record: CaseRecord, what: str, run: Callable[[], Result]) -> Result | None:
    """A part of the account that may fail without taking the rest with it."""
    try:
        return run()
    except Exception as error:
        _, reason = classify(error, compiled=False)
        _note(record, f"no {what}: {reason}")
        return None


def _note(record: CaseRecord, text: str) -> None:
    """Add to what the account says about itself."""
    before = record.breakdown_note
    record.breakdown_note = f"{before}; {text}" if before else text


def _alone_s(step: TrainStep) -> float | None:
    gemms = capture_gemms(step)
    return time_alone(gemms, step.device) if gemms else None


def _profile_at_speed(step: TrainStep, timed_s: float) -> Profile:
    """A profile whose unprofiled steps are as fast as the timed ones were.

    An account scaled from a quiet moment to a busy one, or back, would be of neither. Raises
    ProfileError when a second look disagrees as well.
    """
    for _ in range(2):
        profile = profile_step(step)
        if 1 / SAME_SPEED <= profile.step_s / timed_s <= SAME_SPEED:
            return profile
    raise ProfileError(
        f"the step took {timed_s * 1e3:.1f} ms when it was timed and {profile.step_s * 1e3:.1f} ms "
        "while it was profiled: another program holds the machine; run this case again"
    )


def _profile_of_kernels(step: TrainStep, timed_s: float) -> Profile:
    """A profile of an accelerator whose kernels fit into the timed step.

    After its first profile a process stays slower on the host (the driver's tracing stays
    attached), so that plain steps are no measure of it; kernels are. Raises ProfileError when they
    take longer than the timed step, twice.
    """
    for _ in range(2):
        profile = profile_step(step)
        if profile.device_busy_s <= SAME_SPEED * timed_s:
            return profile
    raise ProfileError(
        f"the step took {timed_s * 1e3:.1f} ms when it was timed, and its kernels "
        f"{profile.device_busy_s * 1e3:.1f} ms while it was profiled: another program holds the "
        "device; run this case again"
    )


def _savings_s(session: BenchSession, record: CaseRecord, step: TrainStep) -> dict[str, float]:
    """What the step saves without each component, where it can be taken out."""
    assert record.dtype is not None
    assert record.step_s is not None
    need, free = record.predicted_memory_bytes, step.device.available_memory_bytes()
    if need is not None and free is not None and need > 0.9 * free:
        _note(record, "not checked by ablation: no memory for a second model")
        return {}
    if record.step_s > LONG_STEP_S:
        _note(record, "not checked by ablation: a step takes too long for pairs")
        return {}
    names = ablation.LOOP_ABLATIONS if isinstance(step, TrainLoop) else ablation.STEP_ABLATIONS
    # As long as the sweep times rounds, for each component.
    budget_s = session.options.plan.rounds_budget_s
    pairs = rounds_for(2 * record.step_s, budget_s, least=10, most=60)
    savings = {}
    for name in names:
        session.progress.phase(f"taking {name} out of {record.case_id}")
        savings[name] = ablation.saving_s(step, name, dtype=record.dtype, pairs=pairs)
    return savings


def keep(record: CaseRecord, account: Account, profile: Profile, *, iteration_s: float) -> None:
    """Put an account of an iteration into a record; operators are scaled as the bars are."""
    on_host = record.device == "cpu"
    scale = iteration_s / profile.step_s if on_host else 1.0
    rows = operators(profile, on_host=on_host, device_step_s=iteration_s)
    largest = sorted(rows, key=lambda op: -op.seconds)
    account.fill(record)
    record.breakdown_operators = [
        replace(op, seconds=op.seconds * scale) for op in largest[:KEPT_OPERATORS]
    ]
    record.profiler_event_cost_s = profile.event_cost_s
    record.profiler_events_per_step = profile.events_per_step
    record.profiled_step_s = profile.profiled_s
    record.profile_by_module = profile.by_module
