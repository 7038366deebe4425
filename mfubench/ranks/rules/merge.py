"""One record of a training script that ran on many ranks, from each rank's own.

What ranks do together is added up (tokens, FLOPs), what they share is the mean over all of them,
and what differs between them stands under `per_rank`. A rank that handed in nothing is named, and
then nothing is added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median
from typing import Any

import numpy as np
from msgspec import Struct

from mfubench.analysis import rates
from mfubench.ranks.rules.slow import FAMILY_ALPHA, slowest
from mfubench.ranks.rules.turns import named
from mfubench.results.case_id import CaseId
from mfubench.results.outcomes import Outcome
from mfubench.results.ranks import RankFigures
from mfubench.results.record import CaseRecord

BLOCKS = 20
"""Steps next to each other are alike, so that blocks of them are what is tested."""

COUNTED = (
    *("flops_forward", "flops_backward", "flops_recomputed", "flops_optimizer"),
    "flops_full_attention_per_step",
)
"""What each rank counted of itself, beside the sums that rates are made of."""


class RankRun(Struct, kw_only=True):
    """What one rank hands in of a script's run."""

    rank: int
    host_key: str
    machine: str | None = None
    cpus: list[int] = []
    info: dict[str, Any]
    """Its record, as it stands in a result file."""
    rounds_s: list[float] = []
    outside_backward_s: list[float] = []
    """Of each of these steps, what was not its backward pass: where DDP does not wait."""


def merged(runs: Sequence[RankRun], ranks: int, name: str) -> tuple[CaseRecord, list[float]]:
    """The record of all ranks, called `name`, and the rounds. `runs` are in the order of ranks and
    may be fewer than `ranks`; rank by rank they are in the record then, and nothing is added up.

    Raises ValueError where there are none.
    """
    if not runs:
        raise ValueError("no rank has handed in anything")
    records = [CaseRecord.from_data(run.info) for run in runs]
    record = CaseRecord.from_data(runs[0].info)
    record.case_id = _case_id(record, name)
    record.preset, record.rank, record.ranks = name, None, ranks
    hosts: dict[str, int] = {}
    record.per_rank = [
        _figures(run, of_rank, hosts.setdefault(run.host_key, len(hosts)))
        for run, of_rank in zip(runs, records, strict=True)
    ]
    missing = sorted(set(range(ranks)) - {run.rank for run in runs})
    bad = [one for one in records if one.outcome is not Outcome.OK]
    if missing or bad:
        record.outcome, record.outcome_reason = _why(missing, runs, records, ranks)
        record.rounds_s = runs[0].rounds_s or None
        record.withhold()
        return record, []
    rounds_s = _rounds(runs)
    record.step_s, record.rounds = median(rounds_s), len(rounds_s)
    record.step_spread_ratio = rates.spread_ratio(rounds_s)
    record.peak_memory_bytes = _largest([one.peak_memory_bytes for one in records])
    many = len(hosts) if record.device == "cpu" else ranks
    for field in ("peak_flops_per_s", "ceiling_flops_per_s"):
        one = getattr(record, field)
        setattr(record, field, None if one is None else one * many)
    if many > 1 and record.peak_flops_per_s is not None:
        record.peak_source = f"{record.peak_source}, times {many} devices"
    losses = [one.loss for one in records if one.loss is not None]
    record.loss = fmean(losses) if len(losses) == ranks else None
    _add_up(record, records)
    _name_the_slow(record, runs)
    return record, rounds_s


def _case_id(record: CaseRecord, name: str) -> str:
    case = CaseId(
        question=record.question,
        preset=name,
        device=record.device.partition(":")[0],
        dtype=record.dtype,
        compile=record.compile,
    )
    return str(case)


def _figures(run: RankRun, record: CaseRecord, host: int) -> RankFigures:
    return RankFigures(
        rank=run.rank,
        host=host,
        machine=run.machine,
        cpus=run.cpus or None,
        threads=record.threads,
        step_s=record.step_s,
        outside_backward_s=median(run.outside_backward_s) if run.outside_backward_s else None,
        tokens_per_s=record.tokens_per_s,
        model_flops_per_step=record.model_flops_per_step,
        achieved_flops_per_s=record.achieved_flops_per_s,
        mfu_a100=record.mfu_a100,
        peak_memory_bytes=record.peak_memory_bytes,
        loss=record.loss,
        ended=record.ended_early
        or (None if record.outcome is Outcome.OK else record.outcome_reason),
    )


def _why(
    missing: Sequence[int], runs: Sequence[RankRun], records: Sequence[CaseRecord], ranks: int
) -> tuple[Outcome, str]:
    if missing:
        return Outcome.ERROR, (
            f"{named(missing)} of {ranks} handed in nothing; what the others measured is under "
            "per_rank, and nothing is added up without it"
        )
    for run, record in zip(runs, records, strict=True):
        if record.outcome is not Outcome.OK:
            return record.outcome, f"rank {run.rank}: {record.outcome_reason}"
    raise AssertionError("called for a run that went well")


def _rounds(runs: Sequence[RankRun]) -> list[float]:
    """Each step, the mean over ranks; rank 0's where ranks did not time as many."""
    if len({len(run.rounds_s) for run in runs}) > 1:
        return runs[0].rounds_s
    means = np.mean(np.asarray([run.rounds_s for run in runs]), axis=0)
    return [float(seconds) for seconds in means]


def _largest(values: Sequence[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _add_up(record: CaseRecord, records: Sequence[CaseRecord]) -> None:
    """Tokens and FLOPs over all ranks; unknown where one rank's are."""
    sums: dict[str, int | None] = {}
    for field in ("tokens_per_step", "model_flops_per_step", "hardware_flops_per_step"):
        values = [getattr(one, field) for one in records]
        sums[field] = None if None in values else sum(values)
        setattr(record, field, sums[field])
    for field in COUNTED:
        values = [getattr(one, field) for one in records]
        setattr(record, field, None if None in values else sum(values))
    own_mfu = record.mfu_a100
    if sums["model_flops_per_step"] is None:
        record.achieved_flops_per_s = record.mfu = record.ceiling_utilisation = None
        tokens = sums["tokens_per_step"]
        record.tokens_per_s = tokens / record.step_s if tokens and record.step_s else None
        return
    rates.fill_rates(
        record,
        tokens=sums["tokens_per_step"],
        model_flops=sums["model_flops_per_step"],
        hardware_flops=sums["hardware_flops_per_step"],
        palm_flops=None,
        nanogpt_flops=None,
        flops_source="counted in a live step of each rank, summed",
    )
    record.mfu_a100 = own_mfu  # what rank 0 prints: its own work


def _name_the_slow(record: CaseRecord, runs: Sequence[RankRun]) -> None:
    """By the time outside the backward pass, in which DDP makes ranks wait: who takes longer there
    is who the others wait for."""
    counts = {len(run.outside_backward_s) for run in runs}
    if len(counts) != 1 or len(runs) < 2 or record.step_s is None:
        return
    (steps,) = counts
    if steps < BLOCKS:
        return
    own = np.asarray([run.outside_backward_s for run in runs])
    blocks = np.stack([part.mean(axis=1) for part in np.array_split(own, BLOCKS, axis=1)], axis=1)
    late = {
        run.rank: (
            (blocks[index] - np.median(np.delete(blocks, index, axis=0), axis=0)) / record.step_s
        ).tolist()
        for index, run in enumerate(runs)
    }
    found = slowest(late)
    if found is None:
        return
    record.slow_rank = found.name
    record.slow_rank_because = (
        f"rank {found.name} needs {found.share * 100:.1f} % of a step more than the others outside "
        f"its backward pass, at least {found.at_least * 100:.1f} % "
        f"({100 * (1 - FAMILY_ALPHA):.0f} % over all together, {steps} steps)"
    )
