"""How a case ends, and the words and kinds of value that every record is made of."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, TypeVar

from msgspec import Meta

SCHEMA_VERSION = 1

Count = Annotated[int, Meta(ge=1)]
Bytes = Annotated[int, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0)]
Text = Annotated[str, Meta(min_length=1)]
Dtype = Literal["float32", "tf32", "bfloat16", "float16"]
Worth = Literal["helps", "hurts", "no difference", "unclear"]
"""What an interval of a ratio says: no difference is certain, unclear would take more pairs."""
Question = Literal[
    "ceiling",
    "train-step",
    "train-loop",
    "harness",
    "breakdown",
    "breakdown-loop",
    "knob",
    "claim",
    "planted",
    "script",
    "ranks",
]
TRAINING = ("train-step", "train-loop")
"""Questions whose answer is the time of a training step of a workload of the suite."""
STEPS = (*TRAINING, "script")
"""The same, and a training script that is not ours: of it no tokens or FLOPs may be known."""


T = TypeVar("T")


def known(value: T | None) -> T:
    """A value that every valid record has where it is asked for: a rate of a case that is ok.

    Raises ValueError where it is missing all the same.
    """
    if value is None:
        raise ValueError("a value is missing that a case that is ok always has")
    return value


class Outcome(StrEnum):
    """How a case ended. Everything but `ok` carries a reason and no rates."""

    OK = "ok"
    INVALID = "invalid"
    """Timed, but a guard refused the number: impossible rate, zero time, loss not finite."""
    UNAVAILABLE = "unavailable"
    """The device is not on this machine, or torch was not built for it."""
    UNSUPPORTED = "unsupported"
    """The device is there and cannot do this: no such dtype, no such operation."""
    OUT_OF_MEMORY = "out_of_memory"
    COMPILE_FAILED = "compile_failed"
    ERROR = "error"
    INTERRUPTED = "interrupted"

    @property
    def is_a_limit(self) -> bool:
        """True where the machine, not the code, says no: recorded, and no failure of the run."""
        return self in _LIMITS


_LIMITS = frozenset(
    {Outcome.UNAVAILABLE, Outcome.UNSUPPORTED, Outcome.OUT_OF_MEMORY, Outcome.COMPILE_FAILED}
)
