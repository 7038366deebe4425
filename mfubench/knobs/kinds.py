"""Knobs that come in several sizes, and the changes that knobs are made of."""

from __future__ import annotations

from typing import Any

from mfubench.knobs.knob import Change, Knob, library_file, only_cpu, only_cuda, supports


def set_to(**changes: Any) -> Change:
    return lambda config, machine: changes


def environment(**variables: str) -> Change:
    return lambda config, machine: {"environment": variables}


def _batch(factor: int) -> Change:
    return lambda config, machine: {"batch_size": factor * config.batch_size}


def preload(name: str) -> Change:
    return lambda config, machine: {"environment": {"LD_PRELOAD": library_file(name) or name}}


def compiled(mode: str, **settings: Any) -> Knob:
    named = "" if mode == "default" else f', mode="{mode}"'
    return Knob(
        name="compile" if mode == "default" else f"compile {mode}",
        before="eager",
        after=f"torch.compile, {mode}",
        change=set_to(compile=mode),
        nanogpt="--compile=True" if mode == "default" else f"torch.compile(model{named})",
        pytorch=f"model = torch.compile(model{named})",
        **settings,
    )


def eager(name: str, words: str, **changes: str) -> Knob:
    """What the baseline on CUDA is not: there nanoGPT compiles, and casts to 16 bits."""
    return Knob(
        name=name,
        before="nanoGPT's own: compiled, 16-bit autocast",
        after=name,
        change=set_to(compile="no", **changes),
        nanogpt=words,
        pytorch="no torch.compile" + (", no autocast" if changes else ""),
        changes_numerics=bool(changes),
        inapplicable=only_cuda,
        long_shot=True,
    )


def batch_knob(factor: int) -> Knob:
    return Knob(
        name=f"batch x{factor}",
        before="the preset's batch",
        after=f"{factor} times as many sequences",
        change=_batch(factor),
        nanogpt=f"--batch_size={factor} times as much",
        pytorch="a larger batch",
        changes_numerics=True,
    )


def scaled_batch_knob(factor: int) -> Knob:
    return Knob(
        name=f"batch x{factor} scaled",
        before="the preset's batch and learning rate",
        after=f"{factor} times both, warm-up and decay in a fraction of the iterations",
        change=lambda config, machine: {
            "batch_size": factor * config.batch_size,
            "schedule_scale": factor,
        },
        nanogpt=f"--batch_size and --learning_rate times {factor}, --warmup_iters, "
        f"--lr_decay_iters and --max_iters divided by {factor}",
        pytorch="a larger batch with a larger learning rate",
        changes_numerics=True,
    )


def float32_attention(name: str, after: str, words: str, **changes: str) -> Knob:
    """bfloat16 but in the attention: torch's fused kernel for CPUs is slower in it than in float32
    (docs/findings.md)."""
    attend = (
        'in model.py with torch.autocast("cpu", enabled=False): '
        "y = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), …).to(q.dtype)"
    )
    return Knob(
        name=name,
        before="float32",
        after=after,
        change=set_to(attention="float32", **changes),
        nanogpt=f"{words}, and {attend}",
        pytorch="the same in the model",
        changes_numerics=True,
        aims_at=("gemm",),
        inapplicable=lambda machine: only_cpu(machine) or supports("bfloat16")(machine),
    )


def loader(kind: str, after: str, pytorch: str) -> Knob:
    return Knob(
        name=f"loader {kind}",
        before="in line",
        after=after,
        change=set_to(loader=kind),
        nanogpt="replace get_batch in train.py",
        pytorch=pytorch,
        aims_at=("data",),
    )
