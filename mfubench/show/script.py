"""A training script's run in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mfubench.show.units import format_duration, format_share, format_si

Info = Mapping[str, Any]

WORTH_NAMING = 0.01
"""Of the time of training: less than this to win is not worth a sentence."""


def script_sentences(info: Info) -> list[str]:
    """One paragraph each: how steps were found, FLOPs, pauses, what would help most."""
    if info["outcome"] != "ok":
        return []  # the table has the reason
    parts = [_steps(info), _flops(info), _pauses(info), _advice(info)]
    return [part for part in parts if part]


def script_answer(info: Info) -> str:
    """What the script does of what the machine can."""
    achieved = info["achieved_flops_per_s"]
    if achieved is None:
        why = (
            "its FLOPs were not counted, because the run was too short for a step to count"
            if info.get("flops_counted_steps") is None
            else "no matrix product, convolution or attention was seen in it"
        )
        step = format_duration(info["step_s"])
        return f"{info['preset']} takes {step} per step. It has no MFU: {why}."
    text = f"{info['preset']} does {format_si(achieved, 'FLOP/s')}"
    if info["ceiling_utilisation"] is not None:
        text += (
            f": {format_share(info['ceiling_utilisation'])} of what the best {info['dtype']} "
            f"matrix multiplication sustains on this {info['device']} "
            f"({format_si(info['ceiling_flops_per_s'], 'FLOP/s')}, measured)"
        )
    if info["mfu"] is not None:
        least = "at least " if info["flops_are_a_lower_bound"] else ""
        text += (
            f", and an MFU of {least}{format_share(info['mfu'])} of its peak "
            f"({format_si(info['peak_flops_per_s'], 'FLOP/s')}; {info['peak_source']})"
        )
    else:
        text += f". The device's peak is not known ({info['peak_source']}), so it has no MFU"
    text += "."
    if info["mfu_a100"] is not None:
        text += f" nanoGPT prints mfu {format_share(info['mfu_a100'])} for this step."
    return text


def _steps(info: Info) -> str:
    text = f"Steps were found by {info['boundary']}: {info['steps_seen']} of them"
    if (accumulation := info["accumulation"]) and accumulation > 1:
        text += f", each of {accumulation} backward passes"
    elif accumulation is None:
        text += ", with different numbers of backward passes"
    warm = info["warmup_steps"] or 0
    text += f"; {info['rounds']} measured, the first {warm} are warm-up"
    if not info["steady"]:
        text += ". Few steps: let it train for longer to get a figure to rely on"
    return text + "."


def _flops(info: Info) -> str:
    if not info.get("model_flops_per_step"):
        return ""
    forward, backward = info["flops_forward"], info["flops_backward"]
    model, full = info["model_flops_per_step"], info["flops_full_attention_per_step"]
    text = (
        f"A step needs {format_si(model, 'FLOP', digits=4)} (counted: forward "
        f"{format_si(forward, 'FLOP')}, backward {format_si(backward, 'FLOP')}"
    )
    if full != model:
        text += f"; {format_si(full, 'FLOP', digits=4)} if causal attention counts in full"
    text += ")"
    if recomputed := info["flops_recomputed"]:
        text += f", and {format_si(recomputed, 'FLOP')} are recomputed by activation checkpointing"
    if (form := info.get("closed_form_flops_per_step")) is not None:
        text += (
            ", which is the closed form exactly"
            if form == model
            else f"; the closed form of its sizes says {format_si(form, 'FLOP', digits=4)}"
        )
    text += "."
    if info["flops_vary"]:
        text += " Steps differ in their FLOPs; this is the count that fits most of them."
    if names := [entry["operator"] for entry in info["flops_uncounted"]]:
        share = format_share(info["flops_uncounted_share"], digits=2)
        text += f" Not counted: {', '.join(names)} ({share} of the step's time)."
    if info["opaque_graphs"]:
        text += " Compiled graphs came from a cache: only the library calls in them were counted."
    return text


def _pauses(info: Info) -> str:
    loop_s, parts = info["loop_s"], []
    for what, seconds, count in (
        ("evaluation", info["evaluation_total_s"], info["evaluations"]),
        ("checkpoints", info["checkpoint_total_s"], info["checkpoints"]),
    ):
        if count:
            share = format_share(seconds / loop_s, digits=2)
            parts.append(f"{what} {format_duration(seconds)} in {count} pauses ({share})")
    if not parts:
        return ""
    return f"Of {format_duration(loop_s)} of training: {'; '.join(parts)}. They are not in ms/step."


def _advice(info: Info) -> str:
    """The largest of what was measured and need not be."""
    loop_s, step_s, seen = info["loop_s"], info["step_s"], info["steps_seen"]
    chances = {
        "waiting for the data loader (more workers, or batches made ahead)": (
            info["loader_wait_s"] * seen
        ),
        "evaluation (less often, or on fewer batches)": info["evaluation_total_s"],
        "writing checkpoints (less often)": info["checkpoint_total_s"],
    }
    what = max(chances, key=lambda name: chances[name])
    if chances[what] >= WORTH_NAMING * loop_s:
        share = format_share(chances[what] / loop_s, digits=2)
        return f"Most to win outside the step's arithmetic: {what}, {share} of the time."
    if (optimizer_s := info["optimizer_s"]) and optimizer_s >= 0.1 * step_s:
        share = format_share(optimizer_s / step_s, digits=2)
        return f"The optimizer takes {share} of the step: try its fused form (fused=True)."
    return "mfubench run --breakdown says where the step's time goes."
