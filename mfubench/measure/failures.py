"""From what went wrong to the outcome that is recorded."""

from __future__ import annotations

from mfubench.hardware.devices import is_out_of_memory
from mfubench.results.outcomes import Outcome


def classify(error: BaseException, *, compiled: bool) -> tuple[Outcome, str]:
    """The outcome and the reason behind an exception.

    >>> classify(AssertionError(), compiled=False)[1], classify(ValueError("no"), compiled=True)[1]
    ('AssertionError', 'ValueError: no')
    """
    text = ": ".join(filter(None, [type(error).__name__, str(error).strip()]))
    first_lines = " ".join(text.split("\n")[:2])[:300]
    if is_out_of_memory(error):
        return Outcome.OUT_OF_MEMORY, first_lines
    if compiled and _from_compiler(error):
        return Outcome.COMPILE_FAILED, first_lines
    if isinstance(error, NotImplementedError):
        return Outcome.UNSUPPORTED, first_lines
    return Outcome.ERROR, first_lines


def _from_compiler(error: BaseException) -> bool:
    """Whether torch.compile's own stack raised it, by the module of the exception's class."""
    return any(
        base.__module__.startswith(("torch._dynamo", "torch._inductor", "torch._functorch"))
        for base in type(error).__mro__
    )
