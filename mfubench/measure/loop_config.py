"""How a training loop is set up, as plain data: what a knob changes and a worker builds from.

The defaults are nanoGPT's `train.py` with the preset's values. A configuration travels to a worker
process as JSON, and says in a sentence what cannot be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from mfubench.hardware.dtypes import DTYPES

COMPILE_MODES = ("no", "default", "reduce-overhead", "max-autotune")
ATTENTIONS = ("default", "fused", "math", "float32")
GELUS = ("exact", "tanh")
OPTIMIZERS = ("default", "for-loop", "foreach", "fused")
LOADERS = ("inline", "fixed", "thread", "workers-2", "workers-4")
WEIGHTS = ("float32", "bfloat16")

SLOW_STEP_S = 0.15
"""Slower steps are repeated less often: each averages over more of the machine's moments."""

HELD_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**28),
}
"""glibc keeps the memory that it has, instead of giving large blocks back to the system and taking
them again page by page."""
ALLOCATOR_VARIABLES = (*HELD_MEMORY, "GLIBC_TUNABLES", "LD_PRELOAD")


def settings_of_variables(names: Iterable[str]) -> set[str]:
    """What environment variables set; those of the allocator are one setting: what glibc is told
    means nothing to another allocator.

    >>> sorted(settings_of_variables(["OMP_PLACES", "LD_PRELOAD", "MALLOC_TOP_PAD_"]))
    ['OMP_PLACES', 'allocator']
    """
    return {"allocator" if name in ALLOCATOR_VARIABLES else name for name in names}


def keeps_memory(environment: Mapping[str, str]) -> bool:
    """Whether glibc's allocator is told to keep its memory.

    >>> keeps_memory({**HELD_MEMORY, "A": "1"}), keeps_memory({})
    (True, False)
    """
    return HELD_MEMORY.items() <= environment.items()


IDLE_THREADS = {"GOMP_SPINCOUNT": "20000", "KMP_BLOCKTIME": "1"}
"""A side that waits must be idle, so OpenMP's threads sleep within a millisecond of their last work
(libgomp counts turns of a loop, others milliseconds)."""


class ConfigError(ValueError):
    """A configuration that cannot be, in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopConfig:
    """One way to train a preset. Each field but the first two can be a knob."""

    preset: str = "nanogpt-cpu"
    device: str = "cpu"
    batch_size: int = 12
    """Sequences per forward pass."""
    gradient_accumulation: int = 1
    """Forward passes per optimizer step."""
    dtype: str = "float32"
    """What matmuls run in: autocast for bfloat16 and float16 (with a scaler)."""
    weights: str = "float32"
    """What parameters are stored in."""
    compile: str = "no"
    attention: str = "default"
    gelu: str = "exact"
    optimizer: str = "default"
    vocab_multiple: int = 1
    """The vocabulary is padded to a multiple of this."""
    zero_grad: str = "none"
    """Gradients are dropped ("none") or filled with zeros ("zeros")."""
    loader: str = "inline"
    log_interval: int | None = None
    """None: the preset's."""
    eval_interval: int | None = None
    schedule_scale: int = 1
    """The linear scaling rule: the learning rate times this, over as many fewer iterations."""
    activation_checkpointing: bool = False
    flush_denormals: bool = False
    threads: int | None = None
    """Intra-operator threads; None: the usable cores."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables of the process, which must be set before it starts."""
    cpus: tuple[int, ...] | None = None
    """Processors the process is bound to; None: as it is."""

    def __post_init__(self) -> None:
        for name, allowed in (
            ("compile", COMPILE_MODES),
            ("attention", ATTENTIONS),
            ("gelu", GELUS),
            ("optimizer", OPTIMIZERS),
            ("loader", LOADERS),
            ("dtype", DTYPES),
            ("weights", WEIGHTS),
            ("zero_grad", ("none", "zeros")),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigError(f"{name} is {value!r}; allowed: {', '.join(allowed)}")
        for name in ("batch_size", "gradient_accumulation", "vocab_multiple", "schedule_scale"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be 1 or more")

    @property
    def tokens_factor(self) -> int:
        """Sequences per optimizer step."""
        return self.batch_size * self.gradient_accumulation

    @property
    def process_settings(self) -> tuple[Any, ...]:
        """What needs a process of its own."""
        return (tuple(sorted(self.environment.items())), self.cpus)

    def changed(self, changes: dict[str, Any]) -> LoopConfig:
        """This configuration with some fields changed; environments are merged."""
        changes = dict(changes)
        if "environment" in changes:
            changes["environment"] = {**self.environment, **changes["environment"]}
        return replace(self, **changes)

    @property
    def chooses_allocator(self) -> bool:
        """Whether its environment sets what memory comes from."""
        return any(name in ALLOCATOR_VARIABLES for name in self.environment)

    @property
    def may_fork(self) -> bool:
        """Whether a fork of a process that has loaded torch may run it: on the CPU, and bound to no
        processors before torch is loaded."""
        return self.device == "cpu" and not self.cpus

    @property
    def steadied(self) -> LoopConfig:
        """The same with an allocator that keeps its memory, unless the allocator is chosen.

        glibc's default ends up in one of several states, process by process: two processes of the
        seed preset's plain loop differ by 2.4 % (standard deviation), steadied ones by 0.3 %.
        """
        if self.device != "cpu" or self.chooses_allocator:
            return self
        return self.changed({"environment": HELD_MEMORY})

    def as_data(self) -> dict[str, Any]:
        """JSON types."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> LoopConfig:
        """From `as_data`; an unknown field is refused by name."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise ConfigError(
                f"unknown setting {unknown[0]!r}; allowed: {', '.join(sorted(known))}"
            )
        values = dict(data)
        if values.get("cpus") is not None:
            values["cpus"] = tuple(values["cpus"])
        return cls(**values)
