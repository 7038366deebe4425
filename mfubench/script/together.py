"""A script on many ranks leaves one file: every rank hands in its record, rank 0 merges them.

They meet at the store of torchrun's rendezvous, which its agent keeps until the last rank has
ended, whatever became of the script's own process group. Nobody waits long: a rank that would have
ended must not keep another from seeing that it has.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import time
from typing import TYPE_CHECKING, Any

import msgspec

from mfubench.hardware.affinity import usable_cpus
from mfubench.hardware.fingerprint import fingerprint
from mfubench.interrupts import Held
from mfubench.ranks.rules.merge import RankRun, merged
from mfubench.ranks.rules.turns import host_key
from mfubench.results.record import CaseRecord

if TYPE_CHECKING:
    from mfubench.script.found import Found

WAIT_S = 20.0
"""How long a rank waits for the others to end, too."""
LOOK_S = 0.1


def is_one_of_many() -> bool:
    """Whether torchrun started this process as one rank of several, and keeps their store."""
    return (
        os.environ.get("WORLD_SIZE", "1") not in ("", "1")
        and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    )


class Meeting:
    """This rank's side of it."""

    def __init__(self, held: Held) -> None:
        """Who is interrupted waits for nobody."""
        self._held = held
        self.rank, self.ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self._store = _store()

    def hand_in(self, record: CaseRecord, found: Found) -> bool:
        """Give this rank's record to rank 0; False where the store cannot be reached."""
        run = RankRun(
            rank=self.rank,
            host_key=host_key(),
            machine=fingerprint().id,
            cpus=list(usable_cpus()),
            info=record.as_extra_info(),
            rounds_s=found.rounds_s,
            outside_backward_s=outside_backward_s(found),
        )
        return self._set(str(self.rank), msgspec.json.encode(run))

    def is_merged(self) -> bool:
        """Whether rank 0 has this rank's record in its file, waited for as long as is decent."""
        return self._waited_for(["merged"])

    def merged(self, name: str) -> tuple[CaseRecord, list[float]]:
        """The record of all ranks, once all have handed in or the time for it is over."""
        self._waited_for([str(rank) for rank in range(self.ranks)])
        runs = [run for rank in range(self.ranks) if (run := self._run(rank)) is not None]
        return merged(runs, self.ranks, name)

    def tell(self) -> None:
        """The file is written."""
        self._set("merged", b"1")

    def _run(self, rank: int) -> RankRun | None:
        if not self._has([str(rank)]):
            return None
        return msgspec.json.decode(self._store.get(_key(str(rank))), type=RankRun)

    def _set(self, name: str, value: bytes) -> bool:
        with contextlib.suppress(RuntimeError, AttributeError):
            self._store.set(_key(name), value)
            return True
        return False

    def _has(self, names: list[str]) -> bool:
        with contextlib.suppress(RuntimeError, AttributeError):
            return bool(self._store.check([_key(name) for name in names]))
        return False

    def _waited_for(self, names: list[str]) -> bool:
        deadline_s = time.monotonic() + WAIT_S
        while not self._has(names):
            if time.monotonic() > deadline_s or self._held.came:
                return False
            time.sleep(LOOK_S)
        return True


def _key(name: str) -> str:
    # A restarted group of workers is another run.
    return f"mfubench/run/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{name}"


def _store() -> Any:
    from torch._C._distributed_c10d import TCPStore

    try:
        return TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            timeout=datetime.timedelta(seconds=WAIT_S),
        )
    except (RuntimeError, KeyError, ValueError):
        return None


def outside_backward_s(found: Found) -> list[float]:
    """Of each measured step, the time that was not its backward pass."""
    measured = found.steps.steps[-len(found.rounds_s) :] if found.rounds_s else []
    return [max(0.0, step.seconds - step.backward_s) for step in measured]
