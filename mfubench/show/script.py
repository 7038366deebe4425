"""A training script's run in words."""

from __future__ import annotations

from mfubench.results.outcomes import Outcome, known
from mfubench.results.record import CaseRecord
from mfubench.show.units import format_duration, format_share, format_si

WORTH_NAMING = 0.01
"""Of the time of training: less than this to win is not worth a sentence."""


def script_sentences(record: CaseRecord) -> list[str]:
    """One paragraph each: how steps were found, FLOPs, pauses, what would help most."""
    lost = [f"One part of the record is missing. {text}." for text in record.parts_lost or ()]
    if record.outcome is not Outcome.OK:
        return lost  # the table has the reason
    parts = [_steps(record), _ranks(record), _flops(record), _pauses(record), _advice(record)]
    return [*(part for part in parts if part), *lost]


def script_answer(record: CaseRecord) -> str:
    """What the script does of what the machine can."""
    achieved = record.achieved_flops_per_s
    if achieved is None:
        why = (
            "its FLOPs were not counted"
            + ("" if record.parts_lost else ", because the run was too short for a step to count")
            if record.flops_counted_steps is None
            else "no matrix product, convolution or attention was seen in it"
        )
        step = format_duration(record.step_s)
        return f"{record.preset} takes {step} per step. It has no MFU: {why}."
    text = ""
    if record.mfu is not None:
        kind = "CPU" if record.device == "cpu" else "GPU"
        least = "at least " if record.flops_are_a_lower_bound else ""
        text = f"{record.preset} uses {least}{format_share(record.mfu)} of this {kind}'s peak. "
        if record.mfu_a100 is not None:
            shown = f"{record.mfu_a100 * 100:.2f} %"
            text += f"nanoGPT shows {shown} because it divides by an A100's peak. "
    text += f"Measured: {format_si(achieved, 'FLOP/s')}"
    if record.ceiling_utilisation is not None:
        text += (
            f", {format_share(record.ceiling_utilisation)} of the fastest {record.dtype} matrix "
            f"product here ({format_si(record.ceiling_flops_per_s, 'FLOP/s')})"
        )
    if record.mfu is not None:
        text += f". Peak: {format_si(record.peak_flops_per_s, 'FLOP/s')} ({record.peak_source})"
    else:
        text += f". The device's peak is not known ({record.peak_source}), so it has no MFU"
    return text + "."


def _ranks(record: CaseRecord) -> str:
    """What many ranks did, and who is slow."""
    figures = record.per_rank or []
    if len(figures) < 2:
        return ""
    text = f"{len(figures)} ranks; FLOPs and tokens are added up over them. "
    if record.slow_rank_because:
        return text + f"Slow: {record.slow_rank_because}."
    return text + "No rank is certainly slow."


def _steps(record: CaseRecord) -> str:
    text = f"Steps were found by {record.boundary}: {record.steps_seen} of them"
    if (accumulation := record.accumulation) and accumulation > 1:
        text += f", each of {accumulation} backward passes"
    elif accumulation is None:
        text += ", with different numbers of backward passes"
    warm = record.warmup_steps or 0
    text += f"; {record.rounds} measured after {warm} of warm-up"
    if not record.steady:
        text += ". Few steps: let it train for longer to get a figure to rely on"
    return text + "."


def _flops(record: CaseRecord) -> str:
    if not record.model_flops_per_step:
        return ""
    forward, backward = record.flops_forward, record.flops_backward
    model, full = record.model_flops_per_step, record.flops_full_attention_per_step
    text = (
        f"A step needs {format_si(model, 'FLOP', digits=4)} (counted: forward "
        f"{format_si(forward, 'FLOP')}, backward {format_si(backward, 'FLOP')}"
    )
    if full != model:
        text += f"; {format_si(full, 'FLOP', digits=4)} if causal attention counts in full"
    text += ")"
    if recomputed := record.flops_recomputed:
        text += f", and {format_si(recomputed, 'FLOP')} are recomputed by activation checkpointing"
    if (form := record.closed_form_flops_per_step) is not None:
        text += (
            ", which is the closed form exactly"
            if form == model
            else f"; the closed form of its sizes says {format_si(form, 'FLOP', digits=4)}"
        )
    text += "."
    if record.flops_vary:
        text += " Steps differ in their FLOPs; this is the count that fits most of them."
    if names := [entry.operator for entry in record.flops_uncounted or ()]:
        share = format_share(record.flops_uncounted_share, digits=2)
        text += f" Not counted: {', '.join(names)} ({share} of the step's time)."
    if record.opaque_graphs:
        text += " Compiled graphs came from a cache: only the library calls in them were counted."
    return text


def _pauses(record: CaseRecord) -> str:
    loop_s, parts = known(record.loop_s), []
    for what, seconds, count in (
        ("evaluation", record.evaluation_total_s, record.evaluations),
        ("checkpoints", record.checkpoint_total_s, record.checkpoints),
    ):
        if count and seconds is not None:
            share = format_share(seconds / loop_s, digits=2)
            parts.append(f"{what} {format_duration(seconds)} in {count} pauses ({share})")
    if not parts:
        return ""
    return f"Of {format_duration(loop_s)} of training: {'; '.join(parts)}. They are not in ms/step."


def _advice(record: CaseRecord) -> str:
    """The largest of what was measured and need not be; empty where nothing stands out."""
    loop_s, step_s, seen = known(record.loop_s), known(record.step_s), known(record.steps_seen)
    chances = {
        "waiting for the data loader (more workers, or batches made ahead)": (
            known(record.loader_wait_s) * seen
        ),
        "evaluation (less often, or on fewer batches)": known(record.evaluation_total_s),
        "writing checkpoints (less often)": known(record.checkpoint_total_s),
    }
    what = max(chances, key=lambda name: chances[name])
    if chances[what] >= WORTH_NAMING * loop_s:
        share = format_share(chances[what] / loop_s, digits=2)
        return f"Most to win outside the step's arithmetic: {what}, {share} of the time."
    if (optimizer_s := record.optimizer_s) and optimizer_s >= 0.1 * step_s:
        share = format_share(optimizer_s / step_s, digits=2)
        return f"The optimizer takes {share} of the step: try its fused form (fused=True)."
    return ""
