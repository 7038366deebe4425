"""Several traces of one run: whether they belong together, and who waited for whom."""

from __future__ import annotations

from collections.abc import Sequence

from mfubench.trace.account import DeviceAccount
from mfubench.trace.events import Recording
from mfubench.trace.read import TraceError
from mfubench.trace.shares import COLLECTIVE
from mfubench.trace.steps import Window, windows


def refuse_different_runs(recordings: Sequence[Recording]) -> None:
    """Raise TraceError unless the traces can be of the ranks of one run: as many processes, each
    rank once, steps in common."""
    first = recordings[0]
    seen: dict[int, Recording] = {}
    for other in recordings:
        if len(recordings) > 1 and other.rank is None:
            raise TraceError(
                f"{other.path} does not say which rank it is of, so it cannot be told whether "
                "these traces are of one run; give them one by one"
            )
        if other.rank is not None and other.rank in seen:
            raise TraceError(
                f"{other.path} and {seen[other.rank].path} are both of rank {other.rank}; give "
                "one trace per rank of one run"
            )
        if other.rank is not None:
            seen[other.rank] = other
        if other.world_size != first.world_size:
            raise TraceError(
                f"{first.path} is of a run with {first.world_size} ranks and {other.path} of one "
                f"with {other.world_size}; give traces of one run"
            )
        names, others = ({w.name for w in windows(r)} for r in (first, other))
        if not names & others:
            raise TraceError(
                f"{first.path} and {other.path} have no step in common "
                f"({min(names)} and {min(others)}, for instance); give traces of one run"
            )


def waiting_s(
    ranks: Sequence[tuple[DeviceAccount, Window]],
) -> list[float] | None:
    """For each rank, how long its collectives of a step waited for the slowest rank; None where
    the ranks did not run the same number of collectives.

    A collective ends on all ranks together, and starts on each when it gets there. So the rank
    whose kernel is the shortest came last, and what the others took longer is waiting. Only
    durations are compared: the clocks of two machines need not agree.
    """
    durations = [
        [
            piece.event.end - piece.event.start
            for piece in account.pieces
            if piece.order == COLLECTIVE and window.start <= piece.event.start < window.end
        ]
        for account, window in ranks
    ]
    if len({len(found) for found in durations}) != 1:
        return None
    shortest = [min(same) for same in zip(*durations, strict=True)]
    return [
        sum(own - least for own, least in zip(found, shortest, strict=True)) / 1e9
        for found in durations
    ]
