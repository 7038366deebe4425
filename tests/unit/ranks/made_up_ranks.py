"""Reports of ranks that never ran: their truth is known, and no clock is in them."""

from __future__ import annotations

import numpy as np

from mfubench.ranks.rules.turns import ALONE, BESIDE, SILENT, TRAINING, WHOLE, RankReport, Turn

ALONE_S = 0.1


def made_up(
    seed: int,
    *,
    ranks: int = 2,
    cycles: int = 12,
    steps: int = 3,
    contention: float = 0.9,
    exposed_s: float = 0.02,
    late_s: dict[int, float] | None = None,
    jitter: float = 0.02,
    offset_s: float = 0.0,
    busy: float = 0.0,
    whole_s: float | None = None,
) -> list[RankReport]:
    """Reports of a run whose step alone takes 0.1 s.

    `late_s` are ranks that compute so much longer in each step. `jitter` is the deviation of each
    step's computing, as a share of it; `busy` the chance of a turn that takes twice as long. Rank 1
    on have clocks that are `offset_s` ahead each.
    """
    rng = np.random.default_rng(seed)
    late_s = late_s or {}
    reports = [
        RankReport(
            rank=rank,
            host_key=f"host-{rank // 8}",
            cpus=[rank],
            clock_offset_s=rank * offset_s,
            checksum="same",
            model_flops_per_step=1000 + rank,
            tokens_per_step=10,
            loss=2.0,
        )
        for rank in range(ranks)
    ]

    def computed(alone: bool) -> np.ndarray:
        """Seconds by rank and step."""
        base = ALONE_S if alone else ALONE_S / contention
        own = np.full(ranks, base) + np.array([late_s.get(rank, 0.0) for rank in range(ranks)])
        seconds = own[:, None] * np.exp(jitter * rng.standard_normal((ranks, steps)))
        return seconds * (2.0 if rng.random() < busy else 1.0)

    for cycle in range(cycles):
        one = cycle % ranks
        alone = computed(alone=True)[one]
        reports[one].turns.append(Turn(kind=ALONE, cycle=cycle, steps_s=alone.tolist()))
        if whole_s is not None:
            reports[one].turns.append(Turn(kind=WHOLE, cycle=cycle, steps_s=[whole_s] * steps))
        for kind in (BESIDE, SILENT):
            for report, seconds in zip(reports, computed(alone=False), strict=True):
                report.turns.append(Turn(kind=kind, cycle=cycle, steps_s=seconds.tolist()))
        took = computed(alone=False)
        began = 1000.0 + cycle + np.cumsum([0.0, *(took.max(axis=0) + exposed_s)])
        for report, seconds in zip(reports, took, strict=True):
            clock = report.clock_offset_s
            turn = Turn(
                kind=TRAINING,
                cycle=cycle,
                steps_s=np.diff(began).tolist(),
                started_s=(began[:-1] + clock).tolist(),
                arrived_s=(began[:-1] + seconds + clock).tolist(),
            )
            report.turns.append(turn)
    return reports
