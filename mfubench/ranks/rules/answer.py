"""From what all ranks have handed in to the record of the case."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

import msgspec
from mfubench_model.conventions import A100_BF16_PEAK_FLOPS_PER_S

from mfubench.ranks.rules.account import account_of, arrivals_of, middle_of, offset_of
from mfubench.ranks.rules.slow import Late, by_host, cycles_needed, lateness, slowest
from mfubench.ranks.rules.turns import (
    ALONE,
    BESIDE,
    SILENT,
    TRAINING,
    RankReport,
    RanksError,
    named,
    refuse_missing,
)
from mfubench.results.ranks import CollectiveRate, RankFigures
from mfubench.results.record import CaseRecord

SMALL_MACHINE_CPUS = 8
"""CPU ranks on fewer processors than this share everything: a test of the mechanism."""


def hosts_of(reports: Sequence[RankReport]) -> dict[int, int]:
    """The host of each rank, numbered from 0 by lowest rank."""
    hosts: dict[str, int] = {}
    return {r.rank: hosts.setdefault(r.host_key, len(hosts)) for r in reports}


def fill_per_rank(
    record: CaseRecord, reports: Sequence[RankReport], *, nanogpt_flops: int | None = None
) -> None:
    """Each rank's own figures; of ranks that broke off, what they had."""
    hosts = hosts_of(reports)
    late = lateness(reports) if _is_whole(reports, record.ranks) else {}
    record.per_rank = [
        _figures(report, hosts[report.rank], late.get(report.rank), reports, nanogpt_flops)
        for report in reports
    ]


def _is_whole(reports: Sequence[RankReport], ranks: int | None) -> bool:
    return len(reports) == (ranks or 0)


def _figures(
    report: RankReport,
    host: int,
    late: Sequence[float] | None,
    reports: Sequence[RankReport],
    nanogpt_flops: int | None,
) -> RankFigures:
    training = [turn for turn in report.turns if turn.kind == TRAINING]
    step_s = middle_of(report, TRAINING)
    waits = [fmean(w) for turn in training if (w := _waits(report, turn.cycle, reports))]
    counted = [t.counters_exposed_s for t in training if t.counters_exposed_s is not None]
    return RankFigures(
        rank=report.rank,
        host=host,
        machine=report.machine,
        cpus=report.cpus or None,
        threads=report.threads,
        step_s=step_s,
        alone_s=middle_of(report, ALONE),
        beside_s=middle_of(report, BESIDE),
        silent_s=middle_of(report, SILENT),
        waited_s=median(waits) if waits else None,
        late_s=median(late) * step_s if late and step_s else None,
        clock_offset_s=report.clock_offset_s,
        clock_error_s=report.clock_error_s,
        tokens_per_s=_per_s(report.tokens_per_step, step_s),
        model_flops_per_step=report.model_flops_per_step,
        achieved_flops_per_s=_per_s(report.model_flops_per_step, step_s),
        mfu_a100=_per_s(nanogpt_flops, step_s, over=A100_BF16_PEAK_FLOPS_PER_S),
        gemm_flops_per_s=report.gemm_flops_per_s,
        copy_bytes_per_s=report.copy_bytes_per_s,
        peak_memory_bytes=report.peak_memory_bytes,
        loss=report.loss,
        counters_exposed_s=median(counted) if counted else None,
        rounds_s=[seconds for turn in training for seconds in turn.steps_s],
        ended=report.ended,
    )


def _waits(report: RankReport, cycle: int, reports: Sequence[RankReport]) -> list[float]:
    arrivals = arrivals_of(reports, cycle)
    if arrivals is None:
        return []
    own = arrivals[[r.rank for r in reports].index(report.rank)]
    return [max(step) - at for at, step in zip(own, zip(*arrivals, strict=True), strict=True)]


def _per_s(amount: float | None, seconds: float | None, *, over: float = 1.0) -> float | None:
    return None if not amount or not seconds else amount / seconds / over


def fill_answer(record: CaseRecord, reports: Sequence[RankReport]) -> None:
    """The account of a case that all ranks have finished, over all of them.

    Raises RanksError where a rank is missing, or cycles are too few.
    """
    assert record.ranks is not None
    refuse_missing(reports, record.ranks)
    account = account_of(reports, scaling=record.scaling or "weak")
    record.efficiency, record.contention = account.efficiency, account.contention
    record.communication_exposed, record.skew = account.communication_exposed, account.skew
    record.smaller_batch = account.smaller_batch
    record.cycles, record.step_s = account.cycles, account.step_s
    record.communication_exposed_s = account.exposed.value
    record.communication_exposed_low_s = account.exposed.low
    record.communication_exposed_high_s = account.exposed.high
    record.communication_hidden_s = account.hidden_s
    record.counters_exposed_s = account.counters_exposed_s
    record.waiting_s, record.wrapper_s = account.waiting.value, account.wrapper_s
    profiled = [r.profile_exposed_s for r in reports if r.profile_exposed_s is not None]
    record.profile_exposed_s = median(profiled) if profiled else None
    training = [turn for turn in reports[0].turns if turn.kind == TRAINING]
    record.steps_per_turn = len(training[0].steps_s)
    record.collectives = msgspec.convert(reports[0].collectives, list[CollectiveRate]) or None
    messages = reports[0].messages
    record.communication_bytes_per_step = sum(m.bytes * m.per_step for m in messages)
    record.communication_at_ceiling_s = _at_ceiling(record, reports[0])
    record.ranks_agree = len({report.checksum for report in reports}) == 1
    if record.strategy == "fsdp2":
        record.ranks_agree = None  # each has parameters of its own
    cpus = {cpu for report in reports for cpu in report.cpus}
    record.is_a_test_of_the_mechanism = (
        record.device == "cpu" and record.ranks > 1 and len(cpus) < SMALL_MACHINE_CPUS
    ) or None
    record.ranks_timeline = _timeline(reports)
    _name_the_slow(record, reports)


def _at_ceiling(record: CaseRecord, report: RankReport) -> float | None:
    known = {(c.collective, c.dtype, c.bytes): c.seconds for c in record.collectives or ()}
    total_s = 0.0
    for message in report.messages:
        seconds = known.get((message.collective, message.dtype, message.bytes))
        if seconds is None:
            return None
        total_s += seconds * message.per_step
    return total_s or None


def _name_the_slow(record: CaseRecord, reports: Sequence[RankReport]) -> None:
    late, hosts = lateness(reports), hosts_of(reports)
    found = slowest(late)
    record.slow_rank = None if found is None else found.name
    if found is not None:
        record.slow_rank_because = _because(f"rank {found.name}", found)
        several = len(set(hosts.values())) > 1
        host = slowest(by_host(late, hosts)) if several else None
        if host is not None:
            record.slow_rank_because += f"; {_because(f'host {host.name}', host)}"
    elif record.cycles is not None and record.cycles < cycles_needed(len(reports)):
        record.slow_rank_because = (
            f"{record.cycles} cycles cannot name one rank of {len(reports)}; it takes "
            f"{cycles_needed(len(reports))}"
        )


def _because(who: str, late: Late) -> str:
    return (
        f"{who} comes {late.share * 100:.1f} % of a step after the others, at least "
        f"{late.at_least * 100:.1f} % (95 % over all together, {late.cycles} cycles)"
    )


def _timeline(reports: Sequence[RankReport]) -> list[dict[str, float]] | None:
    """The first step of the last turn of training, by rank, seconds from the first start."""
    turns = []
    for report in reports:
        training = [t for t in report.turns if t.kind == TRAINING]
        if not training or not training[-1].arrived_s:
            return None
        turns.append((report, training[-1]))
    if len({turn.cycle for _, turn in turns}) != 1:
        return None
    first_s = min(turn.started_s[0] - offset_of(report, turn) for report, turn in turns)
    return [
        {
            "rank": report.rank,
            "start_s": turn.started_s[0] - offset_of(report, turn) - first_s,
            "arrived_s": turn.arrived_s[0] - offset_of(report, turn) - first_s,
            "end_s": turn.started_s[0] - offset_of(report, turn) - first_s + turn.steps_s[0],
        }
        for report, turn in turns
    ]


def refuse_apart(record: CaseRecord) -> str | None:
    """Why the ranks did not train together, though they should have; None where they did."""
    if record.ranks_agree is False:
        return (
            f"{named(range(record.ranks or 0))} have different parameters after training: the "
            "strategy did not keep them together, so its time means nothing"
        )
    return None


__all__ = ["RanksError", "fill_answer", "fill_per_rank", "hosts_of", "refuse_apart"]
