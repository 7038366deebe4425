"""The sentences the user came for, with this machine's numbers in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mfubench.results.outcomes import TRAINING, Outcome, known
from mfubench.results.record import CaseRecord
from mfubench.show.units import format_duration, format_share, format_si

A100_PEAK = "312 TFLOP/s"


def answers(records: Sequence[CaseRecord]) -> list[str]:
    """One paragraph per preset and device that has a result."""
    ok = [i for i in records if i.outcome == Outcome.OK and i.question in TRAINING]
    paragraphs = []
    for preset, device in dict.fromkeys((known(i.preset), i.device) for i in ok):
        cases = [i for i in ok if (i.preset, i.device) == (preset, device)]
        paragraphs.append(_paragraph(preset, device, cases))
    return paragraphs


def _paragraph(preset: str, device: str, cases: Sequence[CaseRecord]) -> str:
    base = min(cases, key=lambda record: record.distance)
    setting = f"{device}, {base.dtype}, batch {base.batch_size}"
    setting += ", compiled" if base.compile else ", eager"
    parts = []
    if base.mfu_a100 is not None:
        parts.append(
            f"For {preset} ({setting}) nanoGPT would print mfu {base.mfu_a100:.2%}. That is a "
            f"share of an A100's bfloat16 peak ({A100_PEAK}), whatever the device, and says "
            "nothing about this one.".replace("%.", " %.")
        )
    achieved = format_si(base.achieved_flops_per_s, "FLOP/s")
    share = f"Here the step does {achieved}"
    if base.ceiling_utilisation is not None:
        ceiling = format_si(base.ceiling_flops_per_s, "FLOP/s")
        share += (
            f": {format_share(base.ceiling_utilisation)} of what the best "
            f"{base.dtype} matrix multiplication sustains on this {device} ({ceiling}, measured)"
        )
    if base.mfu is not None:
        peak = format_si(base.peak_flops_per_s, "FLOP/s")
        share += f", and an MFU of {format_share(base.mfu)} of its peak "
        share += f"({peak}; {base.peak_source})"
    else:
        share += f". Its peak is not known ({base.peak_source}), so it has no MFU"
    parts.append(share + ".")
    loops = [i for i in cases if i.question == "train-loop"]
    if loops:
        loop = min(loops, key=lambda record: record.distance)
        parts.append(
            f"Training for {loop.max_iters} iterations takes about "
            f"{format_duration(loop.predicted_training_s)} (predicted: "
            f"{format_duration(loop.iteration_amortised_s)} per iteration as nanoGPT runs it, "
            "data, logging, evaluation and checkpoints included)."
        )
    return " ".join(parts)


def compile_times(records: Iterable[CaseRecord]) -> str | None:
    """What compilation cost the compiled cases, in one sentence.

    >>> compile_times([CaseRecord(case_id="train-step/gpt2/cpu-float32-b12-compiled",
    ...                           question="train-step", device="cpu", compile_s=21.3)])
    'compiling took 21 s (cpu-float32-b12-compiled); it is not in ms/step'
    """
    costs = [
        f"{format_duration(record.compile_s)} ({record.case_id.rsplit('/', 1)[-1]})"
        for record in records
        if record.compile_s
    ]
    return f"compiling took {', '.join(costs)}; it is not in ms/step" if costs else None
