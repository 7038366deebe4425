"""What others reach: the figures that a share is held beside, each with its source.

Shares of the device's own dense peak (MFU). A figure is here only where its source was read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mfubench.results.outcomes import known
from mfubench.results.record import CaseRecord
from mfubench.show.units import format_share

OUR_CPU_RUN = "results/amd-epyc-2c-24g-357d7529/Linux-CPython-3.11-64bit/0001_07cd7d4c2a06_20261124_051416.json"  # noqa: E501
H200_RUNS = "results/intel-xeon-16c-126g-aa6aa456/Linux-CPython-3.12-64bit"
OUR_GPU_RUN = f"{H200_RUNS}/0005_a9a2fb39dd3e_20261126_061823.json"
OUR_SMALL_GPU_RUN = f"{H200_RUNS}/0001_a9a2fb39dd3e_20261126_062845.json"
MOSAIC = "https://github.com/mosaicml/llm-foundry/tree/main/scripts/train/benchmarking"
NANOGPT_ISSUE = "https://github.com/karpathy/nanoGPT/issues/182"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One figure, or the range of several."""

    device_kind: str
    what: str
    """Model and setting."""
    machine: str
    low: float
    high: float
    source: str
    """A stored run of this repository, or an address."""
    parameters: tuple[float, float]
    """Models of about this size compare: from, to."""
    note: str = ""


REFERENCES = (
    Reference(
        device_kind="cpu",
        what="nanogpt-cpu (0.8 M parameters), float32, batch 12 to 48",
        machine="2 cores of an AMD EPYC",
        low=0.465,
        high=0.533,
        source=OUR_CPU_RUN,
        parameters=(1e5, 1e8),
    ),
    Reference(
        device_kind="cuda",
        what="GPT-2 124 M, bfloat16, batch 12 to 48, compiled",
        machine="1 H200",
        low=0.373,
        high=0.418,
        source=OUR_GPU_RUN,
        parameters=(5e7, 5e8),
    ),
    Reference(
        device_kind="cuda",
        what="nanogpt-cpu (0.8 M parameters), bfloat16, batch 12 to 48",
        machine="1 H200",
        low=0.000599,
        high=0.00338,
        source=OUR_SMALL_GPU_RUN,
        parameters=(1e5, 3e6),
    ),
    Reference(
        device_kind="cuda",
        what="GPT-2 124 M, nanoGPT",
        machine="1 RTX 4090",
        low=0.548,
        high=0.548,
        source=NANOGPT_ISSUE,
        parameters=(5e7, 5e8),
        note="nanoGPT printed 29 %; derived: 29 % × 312 / 165.2 TFLOP/s",
    ),
    Reference(
        device_kind="cuda",
        what="MPT 760 M to 3 B, bfloat16, context 512 to 2048",
        machine="8 H100",
        low=0.349,
        high=0.463,
        source=MOSAIC,
        parameters=(3e8, 1e13),
    ),
)
SMALL_FOR_A_GPU = 5e7
"""Parameters: below, a GPU waits for launches, whatever the code does."""
BELOW, ABOVE = 0.8, 1.1
"""Of the figures beside: how far off is worth a word."""


def parameters_of(record: CaseRecord) -> float | None:
    """About how many parameters a case has: FLOPs per token over 6, None where it has no tokens.

    >>> round(parameters_of(CaseRecord(case_id="x", question="train-step", device="cpu",
    ...     model_flops_per_step=600, tokens_per_step=10)))
    10
    """
    if not record.model_flops_per_step or not record.tokens_per_step:
        return None
    return record.model_flops_per_step / record.tokens_per_step / 6


def is_this_good(record: CaseRecord) -> str:
    """A case's MFU beside the figures of others, in a sentence or two."""
    kind, size = record.device.partition(":")[0], parameters_of(record)
    if record.mfu is None:
        return (
            "Is this good? Without a peak no other machine's figure can be held beside it. Of the "
            f"fastest matrix product here it is {format_share(record.ceiling_utilisation)}."
        )
    if kind != "cpu" and size is not None and size < SMALL_FOR_A_GPU:
        return _of_a_small_model(size)
    beside = [r for r in REFERENCES if r.device_kind == ("cpu" if kind == "cpu" else "cuda")]
    if kind != "cpu":
        beside = [r for r in beside if r.parameters[1] > SMALL_FOR_A_GPU]
    fits = [r for r in beside if size is not None and _compares(r, size)]
    figures = fits or beside
    word = _word(known(record.mfu), figures)
    return f"Is this good? {word}: {'; '.join(map(in_words, figures))}."


def _of_a_small_model(size: float) -> str:
    """Beside a GPU's figures for models that it waits for: no verdict, as faster GPUs reach less.

    >>> print(_of_a_small_model(8e5))
    Is this good? A model of 0.8 M parameters cannot fill a GPU: nanogpt-cpu (0.8 M parameters), \
bfloat16, batch 12 to 48 reaches 0.0599 to 0.338 % on 1 H200. A larger one shows more: \
--preset gpt2.
    >>> print(_of_a_small_model(1e7))
    Is this good? A model of 10 M parameters cannot fill a GPU, so no figure of others compares. A \
larger one shows more: --preset gpt2.
    """
    figures = [r for r in REFERENCES if r.device_kind == "cuda" and _compares(r, size)]
    beside = ": " + "; ".join(map(in_words, figures))
    if not figures:
        beside = ", so no figure of others compares"
    return (
        f"Is this good? A model of {size / 1e6:.2g} M parameters cannot fill a GPU{beside}. "
        "A larger one shows more: --preset gpt2."
    )


def _compares(reference: Reference, size: float) -> bool:
    """Whether a model has about the size of a reference's."""
    return reference.parameters[0] <= size <= reference.parameters[1]


def _word(mfu: float, figures: Sequence[Reference]) -> str:
    if mfu < BELOW * min(one.low for one in figures):
        return "It is below what others reach"
    if mfu > ABOVE * max(one.high for one in figures):
        return "It is more than others reach"
    return "It is what others reach"


def in_words(reference: Reference) -> str:
    """A reference as part of a sentence.

    >>> in_words(REFERENCES[3])
    'GPT-2 124 M, nanoGPT reaches 54.8 % on 1 RTX 4090'
    """
    low, high = format_share(reference.low), format_share(reference.high)
    share = low if low == high else f"{low.removesuffix(' %')} to {high}"
    return f"{reference.what} reaches {share} on {reference.machine}"
