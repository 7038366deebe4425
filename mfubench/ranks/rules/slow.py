"""Which rank or host is slow: a family-wise test.

The more ranks are looked at, the later the latest of them is by chance alone. So each is tested at
0.05 / N (Bonferroni): over all ranks of a quiet run together, the chance of naming one is 5 % at
most. Being 2 % of a step late is not worth a name, so that is the hypothesis that must fall.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from mfubench.analysis import signed_rank
from mfubench.analysis.effect import WORTH_RATIO
from mfubench.ranks.rules.account import arrivals_of, cycle_of
from mfubench.ranks.rules.turns import SILENT, RankReport

FAMILY_ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """How late a rank or a host is, in steps: 0.1 is a tenth of a step."""

    name: int
    share: float
    at_least: float
    """Lower bound at the family's confidence."""
    cycles: int


def cycles_needed(family: int) -> int:
    """Cycles below which no member of a family can be named.

    >>> cycles_needed(2), cycles_needed(64)
    (6, 11)
    """
    return math.ceil(math.log2(family / FAMILY_ALPHA))


def slowest(late: Mapping[int, Sequence[float]]) -> Late | None:
    """The member that is certainly late, the latest of several; None where none is.

    `late` has for each member its lateness in each cycle, in steps.

    >>> slowest({0: [-0.1] * 8, 1: [0.1] * 8})
    Late(name=1, share=0.1, at_least=0.1, cycles=8)
    >>> slowest({0: [-0.01] * 8, 1: [0.01] * 8}) is None
    True
    """
    found = []
    for name, values in late.items():
        bound = signed_rank.lower_bound(values, FAMILY_ALPHA / len(late))
        if bound is not None and bound > WORTH_RATIO:
            found.append(
                Late(
                    name=name,
                    share=signed_rank.centre(values),
                    at_least=bound,
                    cycles=len(values),
                )
            )
    return max(found, key=lambda late: late.share, default=None)


def lateness(reports: Sequence[RankReport]) -> dict[int, list[float]]:
    """For each rank and cycle: its last gradient after the middle one of the other ranks, in steps.

    FSDP2 has no such moment: there it is the rank's silent step beside the others'.
    """
    found: dict[int, list[float]] = {report.rank: [] for report in reports}
    if len(reports) < 2:
        return {}
    for number in sorted({turn.cycle for turn in reports[0].turns}):
        cycle, own = cycle_of(reports, number), _own(reports, number)
        if cycle is None or own is None:
            continue
        for index, report in enumerate(reports):
            others = [one for other, one in enumerate(own) if other != index]
            steps = zip(own[index], *others, strict=True)
            late_s = fmean(mine - median(theirs) for mine, *theirs in steps)
            found[report.rank].append(late_s / cycle.training_s)
    return found


def _own(reports: Sequence[RankReport], number: int) -> list[list[float]] | None:
    arrivals = arrivals_of(reports, number)
    if arrivals is not None:
        return arrivals
    silent = [turn.steps_s for r in reports if (turn := r.of(SILENT, number)) is not None]
    whole = len(silent) == len(reports) and len({len(one) for one in silent}) == 1
    return silent if whole else None


def by_host(
    late: Mapping[int, Sequence[float]], host_of: Mapping[int, int]
) -> dict[int, list[float]]:
    """The same for hosts: the mean over each host's ranks."""
    hosts: dict[int, list[Sequence[float]]] = {}
    for rank, values in late.items():
        hosts.setdefault(host_of[rank], []).append(values)
    return {
        host: [fmean(cycle) for cycle in zip(*of_ranks, strict=True)]
        for host, of_ranks in hosts.items()
    }
