"""What a comparison of training scripts found: the body of its document.

Each declaration is the type, the validation and the JSON Schema at once. Times are seconds, and
what is not known is None (null in JSON).
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from mfubench.sides.pair import ScriptPair, Software

REFERENCE: Final = "reference"
FASTER: Final = "faster"
SLOWER: Final = "slower"
NO_DIFFERENCE: Final = "no difference"
UNCLEAR: Final = "unclear"
Verdict = Literal["reference", "faster", "slower", "no difference", "unclear"]
LossVerdict = Literal["same", "same within rounding", "different", "not deterministic", "unknown"]
Ended = Literal["decided", "out of pairs", "out of budget", "interrupted", "failed"]
Count = Annotated[int, Meta(ge=0)]
Ratio = Annotated[float, Meta(gt=0)]


class ComparedScript(Struct, kw_only=True):
    """One side of a comparison."""

    label: str
    command: list[str]
    """The script and its arguments, as typed."""
    python: str | None
    environment: dict[str, str]
    revision: str | None
    verdict: Verdict
    reason: str | None
    """Why it is unclear, or what else must be known."""
    ratio: Ratio | None
    """Speed over the reference's; None where nothing was measured."""
    low: float | None
    high: float | None
    """The interval that holds at every look and for all sides together; None: it is endless."""
    pairs: Count
    step_s: float | None
    tokens_per_s: float | None
    start_up_s: float | None
    """Of a process that started alone, with nothing compiled in its cache."""
    compile_s: float | None
    warm_start_up_s: float | None
    """With compiled code in the cache, beside the other sides that were starting."""
    break_even_steps: float | None
    """Steps after which a faster side has won back its longer start-up."""
    peak_memory_bytes: int | None
    loss_verdict: LossVerdict
    """Against the reference; for the reference, against its own repetition."""
    loss_words: str
    loss_parts_at_step: int | None
    """Counted from 1."""
    loss_largest_ratio: float | None
    """The largest relative difference of a step's loss."""
    final_loss: float | None
    """Of the last step that all processes have in common."""
    software: Software | None


class Comparison(Struct, kw_only=True):
    """A whole comparison."""

    sides: Annotated[list[ComparedScript], Meta(min_length=2)]
    pairs: Count
    precision: float
    """Differences that are certainly smaller are no difference."""
    confidence: float
    """Of the intervals, all sides and looks together."""
    looks: list[int]
    """After so many pairs the verdicts were looked at."""
    is_steadied: bool
    """Whether the allocator kept its memory and idle threads slept, on all sides."""
    budget_s: float
    spent_s: float
    ended: Ended
    exit_status: Literal[0, 2]
    notes: list[str]
    measured: list[ScriptPair]
