"""What a pair of training scripts gave: the unit of a comparison and of a gate.

Each declaration is the type, the validation and the JSON Schema at once. Times are seconds, and
what is not known is None (null in JSON).
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0)]


class Software(Struct, frozen=True, kw_only=True):
    """What a side ran on, as far as its rounding depends on it."""

    python: str
    torch: str
    threads: Count
    device: str | None
    is_compiled: bool


class SideOfPair(Struct, kw_only=True):
    """One process of a side."""

    start_up_s: float
    """What its first steps took, the start of Python included, beyond steady ones; evaluation and
    checkpoints apart."""
    compile_s: float | None
    """What torch.compile took of that."""
    started_alone: bool
    """Whether no other side was starting at the same time, with nothing compiled in its cache."""
    tokens_per_step: int | None
    workers: Count
    """Processes of its data loader."""
    software: Software
    steps_s: list[float]
    """Mean seconds of a step, one entry per turn."""
    control_s: list[float]
    """Of a kernel in the parent, after each turn."""
    losses: list[float | None]
    """Of every step from the first one on."""
    peak_bytes: int | None
    writes: list[str]
    """Files that it opened for writing, by their names."""
    graphs: Count = 0
    """That torch.compile made, recompilations included."""
    places: dict[str, str] = {}
    """Lines of the script that settings from outside apply to, by setting."""


class ScriptPair(Struct, kw_only=True):
    """Fresh processes, one per side, that took turns."""

    number: Count
    at_s: float
    """Seconds since the epoch."""
    seconds: float
    """What the pair took."""
    sides: dict[str, SideOfPair]
    """By the number of the side, the reference is 0."""
    errors: dict[str, str]
    """Why a side failed, by its number."""
    shared_writes: list[str] = []
    """Names of files that several sides opened for writing."""
