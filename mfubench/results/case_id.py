"""The name of a case: it is put together and taken apart here, and nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self

DEVICE_KINDS = ("cpu", "cuda", "xpu", "mps")
EXAMPLE = "train-step/nanogpt-cpu/cpu-float32-b12-eager"

_CASE_ID = re.compile(
    r"(?:ceiling/(?P<kernel>[^/]+)|(?:(?P<question>[a-z-]+)/)?(?P<preset>[^/]+))"
    rf"/(?P<device>(?:{'|'.join(DEVICE_KINDS)})(?::\d{{1,4}})?)"
    r"(?:-(?P<dtype>[a-z]+\d+))?(?:-b(?P<batch_size>\d{1,8}))?(?:-(?P<mode>eager|compiled))?"
    r"(?:/(?P<knob>[^/]+))?"
)


class CaseIdError(ValueError):
    """A text that is not the id of a case, in one sentence."""


Strategy = Literal["ddp", "fsdp2"]
Scaling = Literal["weak", "strong"]
STRATEGIES: tuple[Strategy, ...] = ("ddp", "fsdp2")
SCALINGS: tuple[Scaling, ...] = ("weak", "strong")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseId:
    """What a case is about. Its text is stable: it never depends on the other cases of a run.

    >>> str(CaseId(question="train-step", preset="gpt2", device="cuda:1", dtype="bfloat16",
    ...            batch_size=12, compile=True))
    'train-step/gpt2/cuda:1-bfloat16-b12-compiled'
    >>> str(CaseId(question="ceiling", kernel="copy", device="cpu"))
    'ceiling/copy/cpu'
    """

    question: str | None = None
    """None for a case that several questions are asked about."""
    kernel: str | None = None
    """What a ceiling is measured with: gemm, copy, triad or dispatch."""
    preset: str | None = None
    """The preset, or the name of a user's own workload. A ceiling has none, every other case one.
    """
    device: str
    dtype: str | None = None
    batch_size: int | None = None
    """Sequences per step."""
    compile: bool | None = None
    knob: str | None = None
    """The knob that is turned, in one word."""

    def __str__(self) -> str:
        modes = {None: None, False: "eager", True: "compiled"}
        batch = None if self.batch_size is None else f"b{self.batch_size}"
        setting = filter(None, (self.device, self.dtype, batch, modes[self.compile]))
        parts = (self.question, self.kernel, self.preset, "-".join(setting), self.knob)
        return "/".join(filter(None, parts))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The case that a text names; raises CaseIdError.

        >>> case = CaseId.parse("breakdown/nanogpt-cpu/cpu-float32-b12-eager")
        >>> case.question, case.preset, case.device, case.batch_size, case.compile
        ('breakdown', 'nanogpt-cpu', 'cpu', 12, False)
        >>> CaseId.parse("gpt2/cuda-tf32-b12-compiled").question is None
        True
        >>> CaseId.parse("ceiling/gemm/cpu-float32").kernel
        'gemm'
        >>> CaseId.parse("knob/gpt2/cpu-float32/batch-x2").knob
        'batch-x2'
        """
        match = _CASE_ID.fullmatch(text)
        if match is None:
            raise CaseIdError(f"{text!r} is not the id of a case; one looks like {EXAMPLE}")
        batch, mode = match["batch_size"], match["mode"]
        return cls(
            question="ceiling" if match["kernel"] else match["question"],
            kernel=match["kernel"],
            preset=match["preset"],
            device=match["device"],
            dtype=match["dtype"],
            batch_size=None if batch is None else int(batch),
            compile=None if mode is None else mode == "compiled",
            knob=match["knob"],
        )
