"""What is asked of every rank, in JSON types."""

from __future__ import annotations

from msgspec import Struct

from mfubench.results.case_id import Scaling, Strategy


class Plant(Struct, kw_only=True):
    """What a test makes a rank do, to see that it is found."""

    rank: int = 0
    sleep_s: float = 0.0
    """Before each step of this rank, together or alone."""
    delay_s_per_byte: float = 0.0
    """Of every message, on all ranks."""
    every_other: bool = False
    """The delay in every other cycle only, so that both are measured in turns."""
    dies_in_cycle: int | None = None
    hangs_in_cycle: int | None = None
    fails_in_cycle: int | None = None
    runs_out_of_memory: bool = False
    other_code: bool = False


class RanksConfig(Struct, kw_only=True):
    """A case on many ranks."""

    preset: str
    device: str
    dtype: str
    batch_size: int
    """Sequences per step: of each rank (weak scaling), or of all ranks together (strong)."""
    compile: bool = False
    strategy: Strategy = "ddp"
    scaling: Scaling = "weak"
    accumulation: int = 1
    threads: int | None = None
    """Of each rank. None: what its processors allow."""
    pins: bool = True
    """Whether ranks of a host share its processors out among each other."""
    corpus: str | None = None
    budget_s: float = 15.0
    """Seconds of turns."""
    cycles: int | None = None
    timeout_s: float = 60.0
    """A rank that is waited for longer is taken to hang."""
    with_collectives: bool = True
    with_profile: bool = True
    plant: Plant | None = None
