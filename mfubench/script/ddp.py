"""What DDP's messages take of a script's backward pass, by DDP's own counters.

DDP sends gradients while the backward pass goes on. What is sent beside it is hidden; what the end
of the pass waits for is exposed, waiting for slower ranks included. On a GPU the trace of the
profiled steps shows both; on a CPU only DDP itself knows.
"""

from __future__ import annotations

import gc
import statistics
import sys
import weakref
from typing import Any

from mfubench.measure.ddp_counters import (
    EVERY_STEP,
    TORCHS_OWN_RATE,
    communication_s,
    count_once_in,
)


class DDPCounters:
    """The counters of the models that this process trains with DDP."""

    def __init__(self) -> None:
        self._models: list[weakref.ref[Any]] | None = None
        self._exposed_s: list[float] = []
        self._hidden_s: list[float] = []

    def start(self) -> None:
        """Have every step counted. The models are looked for once: a hook on each of them would
        make torch compile it again."""
        if self._models is None:
            self._models = [weakref.ref(model) for model in _models()]
        self._sample(EVERY_STEP)

    def step_ended(self) -> None:
        """Note what the counters have: of this step, or of the one before, which they lag by."""
        counted = [communication_s(model) for model in self._alive()]
        spent_s, beside_s = (sum(column) for column in zip((0.0, 0.0), *counted, strict=True))
        if spent_s > 0:
            self._exposed_s.append(max(0.0, spent_s - beside_s))
            self._hidden_s.append(min(spent_s, beside_s))

    def stop(self) -> None:
        """Let DDP count as rarely as before."""
        self._sample(TORCHS_OWN_RATE)

    @property
    def exposed_s(self) -> float | None:
        """Seconds per step that the backward pass waits for; None without DDP."""
        return statistics.median(self._exposed_s) if self._exposed_s else None

    @property
    def hidden_s(self) -> float | None:
        """Seconds per step of messages beside the backward pass; None without DDP."""
        return statistics.median(self._hidden_s) if self._hidden_s else None

    def _alive(self) -> list[Any]:
        return [model for ref in self._models or () if (model := ref()) is not None]

    def _sample(self, every: int) -> None:
        for model in self._alive():
            count_once_in(model, every)


def _models() -> list[Any]:
    """DDP's modules in this process. A class is asked and no object, which may be a proxy."""
    parallel = sys.modules.get("torch.nn.parallel.distributed")
    distributed = sys.modules.get("torch.distributed")
    if parallel is None or distributed is None or not distributed.is_available():
        return []
    if not distributed.is_initialized() or distributed.get_world_size() < 2:
        return []
    ddp = parallel.DistributedDataParallel
    return [one for one in gc.get_objects() if issubclass(type(one), ddp)]
