"""What a rank hands in: its turns, in JSON types, and who it is."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

Kind = Literal["whole", "alone", "beside", "silent", "training"]
WHOLE: Kind = "whole"
"""One rank alone with the whole batch, where ranks share it (strong scaling)."""
ALONE: Kind = "alone"
"""One rank alone, the others wait and compute nothing."""
BESIDE: Kind = "beside"
"""Every rank by itself, all at once: replicas that never talk."""
SILENT: Kind = "silent"
"""The strategy's own step, with a communication that does nothing."""
TRAINING: Kind = "training"
"""The strategy's own step."""


class Turn(Struct, kw_only=True):
    """A few timed steps of one kind on one rank."""

    kind: Kind
    cycle: int
    steps_s: list[float]
    started_s: list[float] = []
    arrived_s: list[float] = []
    """On this rank's clock: when each step began, and when its last gradient was ready. Kept of
    training alone."""
    clock_offset_s: float | None = None
    """This rank's clock less rank 0's, measured just before; None: as the report has it."""
    hidden_s: float | None = None
    """Mean per step: communication that ran before the last gradient was ready."""
    counters_exposed_s: float | None = None
    planted_s: float | None = None
    """Mean per step: of a planted delay, what came after the last gradient was ready."""

    @property
    def step_s(self) -> float:
        """Mean seconds of a step."""
        return sum(self.steps_s) / len(self.steps_s)


class Message(Struct, kw_only=True):
    """A kind of message of a step."""

    collective: str
    dtype: str
    bytes: int
    """Of the whole message, not what travels on a wire."""
    per_step: float


class RankReport(Struct, kw_only=True):
    """All that one rank says of a case."""

    rank: int
    host_key: str
    """The same for all ranks of a host; never kept."""
    machine: str | None = None
    identity: dict[str, str] = {}
    """Versions and code: what must be the same on all ranks."""
    cpus: list[int] = []
    threads: int = 1
    clock_offset_s: float = 0.0
    clock_error_s: float = 0.0
    turns: list[Turn] = []
    model_flops_per_step: int | None = None
    tokens_per_step: int | None = None
    messages: list[Message] = []
    loss: float | None = None
    losses: list[float] = []
    peak_memory_bytes: int | None = None
    checksum: str | None = None
    """Of the parameters after training."""
    gemm_flops_per_s: float | None = None
    copy_bytes_per_s: float | None = None
    profile_exposed_s: float | None = None
    collectives: list[dict[str, Any]] = []
    progress: int = 0
    doing: str = ""
    """What it was last seen at."""
    ended: str | None = None

    def of(self, kind: Kind, cycle: int) -> Turn | None:
        """Its turn of a kind in a cycle."""
        return next((t for t in self.turns if t.kind == kind and t.cycle == cycle), None)


def host_key() -> str:
    """The same for all processes of a host and for no other, without its name: hosts in a cloud are
    often all called localhost."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    try:
        found = boot.read_text(encoding="ascii")
    except (OSError, ValueError):
        found = socket.gethostname()
    return hashlib.sha256(found.encode()).hexdigest()[:12]


class RanksError(Exception):
    """Ranks that cannot be one run, in one sentence that names the rank."""


def refuse_missing(reports: Sequence[RankReport], ranks: int) -> None:
    """Raise RanksError where a rank has handed in nothing: an average over the others would hide
    the one that matters.

    >>> refuse_missing([RankReport(rank=0, host_key="a")], 2)
    Traceback (most recent call last):
    mfubench.ranks.rules.turns.RanksError: rank 1 of 2 handed in nothing; figures of the other \
ranks are kept, and no average is made without it
    """
    missing = sorted(set(range(ranks)) - {report.rank for report in reports})
    if missing:
        raise RanksError(
            f"{named(missing)} of {ranks} handed in nothing; figures of the other ranks are kept, "
            f"and no average is made without {'it' if len(missing) == 1 else 'them'}"
        )


def refuse_different(identities: Sequence[dict[str, str]]) -> None:
    """Raise RanksError where a rank runs other versions or other code than rank 0.

    >>> refuse_different([{"torch": "2.9"}, {"torch": "2.9"}, {"torch": "2.8"}])
    Traceback (most recent call last):
    mfubench.ranks.rules.turns.RanksError: rank 2 has torch 2.8 and rank 0 has 2.9; install the \
same on every host
    """
    first = identities[0]
    for rank, other in enumerate(identities):
        for what in sorted(first.keys() | other.keys()):
            own, wanted = other.get(what, "none"), first.get(what, "none")
            if own != wanted:
                raise RanksError(
                    f"rank {rank} has {what} {own} and rank 0 has {wanted}; install the same on "
                    "every host"
                )


def named(ranks: Sequence[int]) -> str:
    """Ranks in words.

    >>> named([3]), named([1, 2]), named(range(20))
    ('rank 3', 'ranks 1 and 2', 'ranks 0, 1, 2, 3 and 16 more')
    """
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    if len(ranks) > 5:
        return f"ranks {', '.join(map(str, ranks[:4]))} and {len(ranks) - 4} more"
    return f"ranks {', '.join(map(str, ranks[:-1]))} and {ranks[-1]}"


def why_apart(words: str, environment: Mapping[str, str], timeout_s: float) -> str:
    """Why a rank could not meet the others and what to do, from torch's own `words`.

    >>> why_apart("environment variable MASTER_ADDR expected, but not set", {}, 8.0)
    'has no MASTER_ADDR, which torchrun sets: start it as torchrun --nproc-per-node N -m mfubench \
ranks'
    >>> at = {"MASTER_ADDR": "a", "MASTER_PORT": "29500"}
    >>> why_apart("The server socket has failed: EADDRINUSE, address already in use", at, 8.0)
    'could not meet the others: another program has port 29500 of a; give torchrun another one \
with --master-port, or --rdzv-endpoint HOST:PORT'
    >>> why_apart("Timed out after 9 seconds waiting for clients. 1/2 clients joined.", at, 8.0)
    'could not meet the others at a:29500: only 1 of 2 came within 8 s; start the others too, or \
give more --timeout'
    >>> why_apart("The client socket has timed out after 8000ms", at, 8.0)
    "could not meet the others at a:29500: nobody answered within 8 s; is rank 0's host running, \
and can its port be reached from here?"
    """
    missing = next((name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in environment), "")
    if missing:
        return (
            f"has no {missing}, which torchrun sets: start it as torchrun --nproc-per-node N "
            "-m mfubench ranks"
        )
    host, port = environment["MASTER_ADDR"], environment["MASTER_PORT"]
    apart = "could not meet the others"
    if "EADDRINUSE" in words:
        return (
            f"{apart}: another program has port {port} of {host}; give torchrun another one with "
            "--master-port, or --rdzv-endpoint HOST:PORT"
        )
    apart += f" at {host}:{port}"
    if came := re.search(r"(\d+)/(\d+) clients joined", words):
        return (
            f"{apart}: only {came[1]} of {came[2]} came within {timeout_s:g} s; start the others "
            "too, or give more --timeout"
        )
    if "client socket has" in words:
        return (
            f"{apart}: nobody answered within {timeout_s:g} s; is rank 0's host running, and can "
            "its port be reached from here?"
        )
    return f"{apart}: {(words.strip().splitlines() or ['no reason is known'])[0][:200]}"
