"""Which scripts may be forked from a process that has loaded torch.

The first process of a script is always one of its own. It tells whether the script changed its
environment before torch was loaded, and whether it trains on the CPU. A script that did neither
would run in a fork as in a process of its own, and starts in half of the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from mfubench.pairs.child import Answer
from mfubench.pairs.fork_server import ForkServers
from mfubench.pairs.side import Start
from mfubench.sides.spec import SideSpec

OF_ONE_SIDE = "TORCHINDUCTOR_CACHE_DIR"
"""What torch reads as it compiles: it may differ from fork to fork."""


@dataclass
class ScriptForks:
    """Processes that have loaded torch, one per Python and environment, and what is known."""

    servers: ForkServers = field(default_factory=ForkServers)
    _may_fork: dict[tuple[str, ...], bool] = field(default_factory=dict)

    def start_of(
        self, spec: SideSpec, command: list[str], environment: Mapping[str, str]
    ) -> Start | None:
        """What starts a side; None where it must be a process of its own."""
        if not self._may_fork.get(_key(spec)):
            return None
        shared = {name: value for name, value in environment.items() if name != OF_ONE_SIDE}
        return self.servers.start_of(command, shared)

    def learn(self, spec: SideSpec, started: Answer) -> None:
        """From the answer of a process of its own."""
        self._may_fork.setdefault(_key(spec), bool(started.get("may_fork")))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.servers.close()


def _key(spec: SideSpec) -> tuple[str, ...]:
    return (spec.python, str(spec.cwd), str(spec.is_module), *spec.words)
