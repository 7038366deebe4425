"""The sentences the user came for, with this machine's numbers in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mfubench.report.headline import doubt_of
from mfubench.report.references import is_this_good
from mfubench.results.outcomes import TRAINING, Outcome, known
from mfubench.results.record import CaseRecord
from mfubench.show.script import script_answer
from mfubench.show.units import format_duration, format_share, format_si

DEVICES = {"cpu": "CPU", "cuda": "GPU", "xpu": "GPU", "mps": "GPU"}


def answers(records: Sequence[CaseRecord]) -> list[str]:
    """One paragraph per preset and device that has a result, and one per training script."""
    paragraphs = [_paragraph(base, cases) for base, cases in _asked(records)]
    scripts = [i for i in records if i.outcome is Outcome.OK and i.question == "script"]
    return paragraphs + [script_answer(script) for script in scripts]


def verdicts(records: Sequence[CaseRecord]) -> list[str]:
    """Is this good? One sentence per preset and device, and per script; none of unsteady cases."""
    scripts = [i for i in records if i.outcome is Outcome.OK and i.question == "script"]
    found = [base for base, _ in _asked(records)] + [s for s in scripts if s.mfu is not None]
    return [is_this_good(record) for record in found if not doubt_of(record)]


def next_step(records: Sequence[CaseRecord]) -> str | None:
    """What to type next; None where nothing was measured."""
    ok = [record for record in records if record.outcome is Outcome.OK]
    training = [i for i in ok if i.question in TRAINING]
    if any(doubt_of(record) for record in training):
        return "Next: close what else runs on this machine, then measure again."
    if training and not any(i.breakdown for i in ok):
        case = min(training, key=lambda record: record.distance).setting
        return f"Next: mfubench breakdown {case} (where the rest of the time goes)."
    scripts = [i for i in ok if i.question == "script"]
    if any(i.breakdown for i in scripts):
        return 'Next: mfubench advise "SCRIPT" (what makes it faster here).'
    if scripts:
        return "Next: mfubench run --breakdown SCRIPT (where the rest of the time goes)."
    if training or any(i.question == "knob" for i in ok):
        return "Next: mfubench advise (what makes training faster here; 5 minutes)."
    return None


def _asked(records: Sequence[CaseRecord]) -> list[tuple[CaseRecord, list[CaseRecord]]]:
    """The case that a nanoGPT user would have run, and all cases, of each preset and device."""
    ok = [i for i in records if i.outcome == Outcome.OK and i.question in TRAINING]
    found = []
    for preset, device in dict.fromkeys((known(i.preset), i.device) for i in ok):
        cases = [i for i in ok if (i.preset, i.device) == (preset, device)]
        found.append((min(cases, key=lambda record: record.distance), cases))
    return found


def _paragraph(base: CaseRecord, cases: Sequence[CaseRecord]) -> str:
    setting = f"{base.preset}, {base.dtype}, batch {base.batch_size}, {base.how}"
    kind = DEVICES.get(base.device.partition(":")[0], base.device)
    parts = []
    if base.mfu is not None:
        parts.append(f"Training uses {format_share(base.mfu)} of this {kind}'s peak.")
        if base.mfu_a100 is not None:
            shown = f"{base.mfu_a100 * 100:.2f} %"
            parts.append(f"nanoGPT shows {shown} because it divides by an A100's peak.")
    elif base.mfu_a100 is not None:
        parts.append(
            f"nanoGPT shows {base.mfu_a100 * 100:.2f} %, which is a share of an A100's peak."
        )
    achieved = format_si(base.achieved_flops_per_s, "FLOP/s")
    share = f"Measured ({setting}): {achieved}"
    if base.ceiling_utilisation is not None:
        ceiling = format_si(base.ceiling_flops_per_s, "FLOP/s")
        share += (
            f", {format_share(base.ceiling_utilisation)} of the fastest {base.dtype} matrix "
            f"product here ({ceiling})"
        )
    parts.append(share + ".")
    if base.mfu is not None:
        peak = format_si(base.peak_flops_per_s, "FLOP/s")
        parts.append(f"Peak: {peak} ({base.peak_source}).")
    else:
        parts.append(f"Its peak is not known ({base.peak_source}), so it has no MFU.")
    if shaky := [case for case in cases if doubt_of(case)]:
        worst = max(shaky, key=lambda case: case.step_spread_ratio or 0.0)
        parts.append(
            f"This run was unsteady: {doubt_of(worst)}. "
            "Something else was using the machine, so these numbers may be far off, and no "
            "training time is predicted."
        )
        return " ".join(parts)
    if loops := [i for i in cases if i.question == "train-loop"]:
        loop = min(loops, key=lambda record: record.distance)
        parts.append(
            f"Predicted: {loop.max_iters} iterations take about "
            f"{format_duration(loop.predicted_training_s)} "
            f"({format_duration(loop.iteration_amortised_s)} each, with data, logging, evaluation "
            "and checkpoints)."
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
