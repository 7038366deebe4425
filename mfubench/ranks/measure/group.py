"""The ranks of a run as one of them sees the others: meeting, clocks, and what each hands in.

What a rank has measured goes to the store of the rendezvous, which outlives a rank that dies; so
whoever is left has all of it. Beside the group that trains there is one of gloo: its threads sleep
while they wait, so that a rank that waits takes nothing from the one that is timed.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import torch
import torch.distributed as dist

import mfubench
from mfubench.hardware.affinity import usable_cpus
from mfubench.hardware.fingerprint import fingerprint
from mfubench.ranks.measure.strategies import BACKENDS
from mfubench.ranks.rules.turns import RankReport, host_key, named, refuse_different, why_apart

BEAT_S = 0.5
"""A rank says so often how far it is."""
LOST_S = 4 * BEAT_S
"""A rank that said nothing for so long is gone or cannot run."""
PINGS = 20
HANGS = "hangs at"


class Ranks:
    """This process among the ranks of a run."""

    def __init__(self, device_kind: str, *, timeout_s: float) -> None:
        """Meet the others. Raises ConnectionError with a sentence where that fails."""
        self.rank = int(os.environ["RANK"])
        self.count = int(os.environ["WORLD_SIZE"])
        self.local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        self.on_this_host = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        timeout = datetime.timedelta(seconds=timeout_s)
        self.backend = BACKENDS[device_kind]
        try:
            dist.init_process_group(self.backend, timeout=timeout)
            self.quiet = dist.new_group(backend="gloo", timeout=timeout)
        except (RuntimeError, ValueError) as error:
            words = why_apart(str(error), os.environ, timeout_s)
            raise ConnectionError(f"rank {self.rank} of {self.count} {words}") from error
        self.store: Any = dist.distributed_c10d._get_default_store()
        self.report = RankReport(
            rank=self.rank,
            host_key=host_key(),
            machine=fingerprint().id,
            identity=identity(),
            cpus=list(usable_cpus()),
            threads=torch.get_num_threads(),
        )
        self._beats = _Beats(self)

    # --- meeting --------------------------------------------------------------------------------

    def refuse_different(self) -> None:
        """Raise RanksError where a rank runs other versions or code."""
        self.hand_in()
        self.wait()
        refuse_different([r.identity for r in self.handed_in()])

    def wait(self) -> None:
        """Wait for every rank, asleep."""
        dist.barrier(group=self.quiet)

    def agree(self, value: float) -> float:
        """Rank 0's value, on all ranks."""
        told = torch.tensor([value], dtype=torch.float64)
        dist.broadcast(told, 0, group=self.quiet)
        return float(told)

    def mean(self, value: float) -> float:
        """The mean over ranks."""
        told = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(told, group=self.quiet)
        return float(told) / self.count

    def largest(self, value: float) -> float:
        """The largest over ranks."""
        told = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(told, op=dist.ReduceOp.MAX, group=self.quiet)
        return float(told)

    def measure_clock(self) -> None:
        """This rank's clock less rank 0's, from the quickest of many pings, and how wrong that can
        be: half of that ping's time, the usual bound (RFC 5905, section 8).

        A rank's clock is `time.perf_counter`, which ranks of one Linux host share.
        """
        own = torch.zeros(1, dtype=torch.float64)
        for other in range(1, self.count):
            if self.rank == 0:
                best = (float("inf"), 0.0)
                for _ in range(PINGS):
                    sent_s = time.perf_counter()
                    dist.send(own, other, group=self.quiet)
                    told = torch.zeros(1, dtype=torch.float64)
                    dist.recv(told, other, group=self.quiet)
                    back_s = time.perf_counter()
                    best = min(best, (back_s - sent_s, float(told) - (sent_s + back_s) / 2))
                found = torch.tensor([best[1], best[0] / 2], dtype=torch.float64)
                dist.send(found, other, group=self.quiet)
            elif self.rank == other:
                for _ in range(PINGS):
                    dist.recv(own, 0, group=self.quiet)
                    now = torch.tensor([time.perf_counter()], dtype=torch.float64)
                    dist.send(now, 0, group=self.quiet)
                told = torch.zeros(2, dtype=torch.float64)
                dist.recv(told, 0, group=self.quiet)
                self.report.clock_offset_s, self.report.clock_error_s = told.tolist()

    # --- handing in -----------------------------------------------------------------------------

    def at(self, doing: str) -> None:
        """Note how far this rank is."""
        self.report.progress += 1
        self.report.doing = doing

    def hand_in(self) -> None:
        """Give what this rank has measured until now to all."""
        self.store.set(f"mfubench/{self.rank}", msgspec.json.encode(self.report))

    def handed_in(self) -> list[RankReport]:
        """What all ranks have handed in until now, by rank; a missing one is not in it."""
        found = []
        for rank in range(self.count):
            with contextlib.suppress(RuntimeError, msgspec.DecodeError):
                if self.store.check([f"mfubench/{rank}"]):
                    data = self.store.get(f"mfubench/{rank}")
                    found.append(msgspec.json.decode(data, type=RankReport))
        return found

    def is_first(self) -> bool:
        """Whether no other rank has asked this yet. True where nobody can be asked."""
        with contextlib.suppress(RuntimeError):
            return bool(self.store.add("mfubench/ended", 1) == 1)
        return True

    def why(self, error: BaseException) -> str:
        """What went wrong, with the name of the rank that it went wrong on."""
        said = (str(error).strip().splitlines() or [""])[0][:200]
        own = f"{type(error).__name__}: {said}"
        if not is_of_communication(error):
            return f"rank {self.rank} failed at {self.report.doing}: {own}".rstrip(": ")
        before = self._beats.seen()
        time.sleep(LOST_S)
        after = self._beats.seen()
        lost = [r for r in range(self.count) if r != self.rank and before.get(r) == after.get(r)]
        if lost:
            last = ", ".join(sorted({after.get(r, ("", "0", "nothing"))[2] for r in lost})[:3])
            what = "has" if len(lost) == 1 else "have"
            return f"{named(lost)} {what} stopped answering (last seen at: {last})"
        behind = min(after.items(), key=lambda item: int(item[1][1]), default=None)
        if behind is not None and int(behind[1][1]) < self.report.progress:
            return f"rank {behind[0]} {HANGS} {behind[1][2]}; the others waited for it in vain"
        return f"rank {self.rank} lost the others at {self.report.doing}: {own}"

    def close(self) -> None:
        self._beats.stop()
        with contextlib.suppress(RuntimeError, ValueError):
            dist.destroy_process_group()


def is_of_communication(error: BaseException) -> bool:
    """Whether an error is another rank's end, or its silence, as this rank sees it.

    >>> is_of_communication(RuntimeError("Connection closed by peer [127.0.0.1]:1"))
    True
    >>> is_of_communication(ValueError("no such preset"))
    False
    """
    if isinstance(error, dist.DistError | ConnectionError):
        return True
    words = ("connection", "timed out", "timeout", "peer", "gloo", "socket", "nccl")
    return isinstance(error, RuntimeError) and any(w in str(error).lower() for w in words)


class _Beats(threading.Thread):
    """Tells the store from time to time how far this rank is, over a connection of its own."""

    def __init__(self, ranks: Ranks) -> None:
        super().__init__(daemon=True)
        self._ranks = ranks
        self._over = threading.Event()
        self._store: Any = ranks.store.clone()
        self._count = 0
        self.start()

    def run(self) -> None:
        while not self._over.wait(BEAT_S):
            self._count += 1
            report = self._ranks.report
            told = f"{self._count}|{report.progress}|{report.doing}"
            try:
                self._store.set(f"mfubench/beat/{report.rank}", told)
            except (RuntimeError, ValueError):
                return  # the store is gone, and the run with it

    def seen(self) -> dict[int, tuple[str, str, str]]:
        """The last beat of every rank: its number, progress and what it does."""
        found = {}
        for rank in range(self._ranks.count):
            with contextlib.suppress(RuntimeError, ValueError):
                if self._ranks.store.check([f"mfubench/beat/{rank}"]):
                    told = self._ranks.store.get(f"mfubench/beat/{rank}").decode()
                    count, progress, doing = told.split("|", 2)
                    found[rank] = (count, progress, doing)
        return found

    def stop(self) -> None:
        self._over.set()
        self.join(2 * BEAT_S)


def identity() -> dict[str, str]:
    """What must be the same on every rank: versions, and a digest of our own code."""
    digest = hashlib.sha256()
    folder = Path(mfubench.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return {
        "mfubench": mfubench.__version__,
        "torch": str(torch.__version__),
        "Python": platform.python_version(),
        "code of mfubench": digest.hexdigest()[:8],
    }


@contextlib.contextmanager
def ends_with_its_parent() -> Iterator[None]:
    """Within, this process ends when the one that started it does: nobody would end it else."""
    parent, over = os.getppid(), threading.Event()

    def watch() -> None:
        while not over.wait(BEAT_S):
            if os.getppid() != parent:
                os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()
        sys.stdout.flush()
