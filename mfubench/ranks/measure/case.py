"""A case on many ranks as a case of a run: started below torchrun's agent, and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import cast

from mfubench_model.conventions import CONVENTIONS
from mfubench_model.presets import get_preset

from mfubench.analysis import rates
from mfubench.hardware.affinity import usable_cpus
from mfubench.hardware.devices import Device
from mfubench.ranks.measure.agent import Launched, launch
from mfubench.ranks.measure.strategies import BACKENDS
from mfubench.ranks.rules.answer import fill_answer, fill_per_rank, hosts_of, refuse_apart
from mfubench.ranks.rules.config import RanksConfig
from mfubench.ranks.rules.turns import RankReport, RanksError
from mfubench.results.case_id import CaseId
from mfubench.results.outcomes import Dtype, Outcome
from mfubench.results.record import CaseRecord
from mfubench.suite.outcomes import CaseEnded, CaseResult
from mfubench.suite.runner import CaseRunner

BUDGETS = 5.0
"""Seconds of turns in budgets of the sweep: a cycle has a turn of each of four kinds."""


def case_of(config: RanksConfig, ranks: int) -> CaseId:
    """The id of a case.

    >>> str(case_of(RanksConfig(preset="gpt2", device="cuda", dtype="bfloat16", batch_size=12), 8))
    'ranks/gpt2/cuda-bfloat16-b12-eager/8-ddp-weak'
    """
    return CaseId(
        question="ranks",
        preset=config.preset,
        device=config.device,
        dtype=config.dtype,
        batch_size=config.batch_size,
        compile=config.compile,
        knob=f"{ranks}-{config.strategy}-{config.scaling}",
    )


def refusal(config: RanksConfig, ranks: int) -> str | None:
    """Why a case cannot be, before anything is started; None where it can."""
    if config.scaling == "strong" and config.batch_size % ranks:
        return (
            f"a batch of {config.batch_size} sequences cannot be shared out evenly among {ranks} "
            "ranks; give another --batch-sizes or --ranks"
        )
    if config.strategy == "fsdp2" and config.dtype == "float16":
        return "fsdp2 is measured without float16's gradient scaler; give --dtypes bfloat16"
    return None


def too_many(config: RanksConfig, ranks: int) -> str | None:
    """Why this machine has no room for so many ranks; None where it has."""
    kind = config.device.partition(":")[0]
    if kind == "cpu":
        here, what = len(usable_cpus()), "processor"
    elif kind == "mps":
        return "there is no communication between ranks on mps"
    else:
        import torch

        here, what = torch.accelerator.device_count(), f"{kind} device"
    if ranks <= here:
        return None
    return f"{ranks} ranks need {ranks} {what}s, and this machine has {here}"


def measure_ranks(runner: CaseRunner, config: RanksConfig, ranks: int) -> CaseResult:
    """Measure one case below torchrun's own agent on this machine."""
    record = runner.new_record(case_of(config, ranks))
    describe(record, config, ranks)
    with runner.recorded(record) as result:
        device = runner.present_device(record)
        runner.refuse_disabled()
        runner.refuse_dtype(device, config.dtype)
        if reason := refusal(config, ranks):
            raise CaseEnded(Outcome.UNSUPPORTED, reason)
        if reason := too_many(config, ranks):
            raise CaseEnded(Outcome.UNAVAILABLE, reason)
        runner.session.progress.phase(f"training on {ranks} ranks with {config.strategy}")
        try:
            launched = launch(config, ranks)
        except KeyboardInterrupt as interrupt:
            broken: Launched | None = getattr(interrupt, "launched", None)
            if broken is not None:
                fill_per_rank(record, broken.reports)
            raise
        fill_per_rank(record, launched.reports, nanogpt_flops=nanogpt_flops(config, ranks))
        if launched.reason is not None:
            raise CaseEnded(launched.outcome, launched.reason)
        fill_case(record, launched.reports, config)
        ceiling = runner.session.gemm_ceiling(device, config.dtype)
        if ceiling is not None:
            record.ceiling_flops_per_s = ceiling.rate_per_s * devices_used(device, ranks)
            record.ceiling_noise_ratio = ceiling.noise_ratio
            record.ceiling_age_s = ceiling.age_s()
        fill_rates(record, device, config)
        record.outcome = Outcome.OK
    if record.outcome is Outcome.OK:
        result.rounds_s = rounds_of(record)
    return result


def recorded(
    config: RanksConfig,
    ranks: int,
    reports: Sequence[RankReport],
    device: Device,
    *,
    reason: str | None,
    outcome: str,
) -> CaseRecord:
    """The record of a case that was measured outside a sweep: its answer, or the `reason` for which
    it has none, with what each rank had measured."""
    record = CaseRecord(
        case_id=str(case_of(config, ranks)),
        question="ranks",
        preset=config.preset,
        device=config.device,
        dtype=cast(Dtype, config.dtype),
        batch_size=config.batch_size,
        compile=config.compile,
    )
    describe(record, config, ranks)
    fill_per_rank(record, reports, nanogpt_flops=nanogpt_flops(config, ranks))
    if reason is not None:
        record.outcome, record.outcome_reason = Outcome(outcome), reason
        return record
    try:
        fill_case(record, reports, config)
        fill_rates(record, device, config, hosts=len(set(hosts_of(reports).values())))
        record.outcome = Outcome.OK
    except CaseEnded as end:
        record.outcome, record.outcome_reason = end.outcome, end.reason
        record.withhold()
    return record


def describe(record: CaseRecord, config: RanksConfig, ranks: int) -> None:
    """What is known of a case before it is measured."""
    record.block_size = get_preset(config.preset).config.block_size
    record.ranks, record.strategy, record.scaling = ranks, config.strategy, config.scaling
    record.accumulation = config.accumulation
    record.backend = BACKENDS.get(config.device.partition(":")[0])


def fill_case(record: CaseRecord, reports: Sequence[RankReport], config: RanksConfig) -> None:
    """The answer of all ranks. Raises CaseEnded where they are none."""
    try:
        fill_answer(record, reports)
    except RanksError as error:
        raise CaseEnded(Outcome.ERROR, str(error)) from None
    if reason := refuse_apart(record):
        raise CaseEnded(Outcome.INVALID, reason)
    losses = [report.loss for report in reports if report.loss is not None]
    record.loss = fmean(losses)
    if reason := rates.refuse_loss(record.loss):
        raise CaseEnded(Outcome.INVALID, reason)
    rounds_s = rounds_of(record)
    record.rounds = len(rounds_s)
    record.step_spread_ratio = rates.spread_ratio(rounds_s)
    record.threads = reports[0].threads
    memory = [r.peak_memory_bytes for r in reports if r.peak_memory_bytes is not None]
    record.peak_memory_bytes = max(memory, default=None)


def rounds_of(record: CaseRecord) -> list[float]:
    """Steps of training together, each the mean over ranks."""
    of_ranks = [figures.rounds_s for figures in record.per_rank or ()]
    return [fmean(step) for step in zip(*of_ranks, strict=False)]


def devices_used(device: Device, ranks: int) -> int:
    """Devices below so many ranks of one host: all its CPU's cores are one."""
    return 1 if device.kind == "cpu" else ranks


def nanogpt_flops(config: RanksConfig, ranks: int) -> int:
    """What nanoGPT counts on each rank: its own batch, as it divides the accumulation by ranks."""
    each = config.batch_size if config.scaling == "weak" else config.batch_size // ranks
    model = get_preset(config.preset).config
    return CONVENTIONS["nanogpt"].flops_per_step(model, each) * config.accumulation


def fill_rates(record: CaseRecord, device: Device, config: RanksConfig, *, hosts: int = 1) -> None:
    """Rates over all ranks, against the peak of all their devices."""
    ranks, figures = record.ranks or 1, record.per_rank or []
    peak, record.peak_source = device.peak(config.dtype)
    many = devices_used(device, ranks) * (hosts if device.kind == "cpu" else 1)
    record.peak_flops_per_s = None if peak is None else peak * many
    if many > 1:
        record.peak_source = f"{record.peak_source}, times {many} devices"
    flops = sum(one.model_flops_per_step or 0 for one in figures)
    each = get_preset(config.preset).config.block_size * config.accumulation
    sequences = config.batch_size * (ranks if config.scaling == "weak" else 1)
    rates.fill_rates(
        record,
        tokens=each * sequences,
        model_flops=flops,
        hardware_flops=flops,
        palm_flops=None,
        nanogpt_flops=nanogpt_flops(config, ranks),
        flops_source="formula, summed over ranks",
    )
