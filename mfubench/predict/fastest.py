"""Which settings train fastest, of those that learn the same and fit into the memory."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

import msgspec

from mfubench.predict.document import Prediction, Setting

MOST_ACCUMULATION = 64


def same_learning(setting: Setting) -> list[Setting]:
    """A setting, compiled and not, and its batch in parts that are accumulated: what a step learns
    stays the same but for rounding.

    >>> setting = Setting(preset=None, device="cpu", dtype="float32", batch_size=6, block_size=64,
    ...                   compile=False, n_layer=4, n_head=4, n_embd=128, vocab_size=65)
    >>> [(s.batch_size, s.gradient_accumulation_steps) for s in same_learning(setting)[::2]]
    [(6, 1), (3, 2), (2, 3), (1, 6)]
    """
    whole = setting.batch_size * setting.gradient_accumulation_steps
    return [
        msgspec.structs.replace(
            setting, batch_size=whole // parts, gradient_accumulation_steps=parts, compile=compile
        )
        for parts in range(1, min(whole, MOST_ACCUMULATION) + 1)
        if whole % parts == 0
        for compile in (False, True)
    ]


def ranked(predictions: Iterable[Prediction]) -> list[Prediction]:
    """The predictions with a number, the most tokens per second first."""
    known = [one for one in predictions if one.tokens_per_s is not None]
    return sorted(known, key=lambda one: -(one.tokens_per_s or 0.0))


def to_make_sure(best: Prediction, results_dir: str) -> str:
    """The command that runs a prediction and puts what is measured beside it."""
    words = ["mfubench", "predict", "--run"]
    if best.preset:
        words += ["--preset", best.preset]
    else:
        for name in ("n_layer", "n_head", "n_embd", "block_size", "vocab_size"):
            words += ["--" + name.replace("_", "-"), str(getattr(best, name))]
        words += ["--bias"] if best.bias else []
    words += ["--batch-sizes", str(best.batch_size), "--dtypes", best.dtype]
    if (best.gradient_accumulation_steps or 1) > 1:
        words += ["--gradient-accumulation-steps", str(best.gradient_accumulation_steps)]
    words += ["--compile", "yes" if best.compile else "no"]
    words += ["--results-dir", results_dir] if results_dir != "results" else []
    return shlex.join(words)


def advantage(best: Prediction, others: Sequence[Prediction]) -> str:
    """How sure the choice is: whether intervals leave another one open."""
    near = [one for one in others if one is not best and _least(one) < _most(best)]
    if not near:
        return "No other one comes near it."
    return (
        f"{len(near)} other{'s' if len(near) > 1 else ''} may be faster by the intervals; settings "
        "that are alike err alike, so the order is surer than the times."
    )


def _least(one: Prediction) -> float:
    """Seconds per token, at the lower end of the interval."""
    return (one.low_s or 0.0) / ((one.step_s or 1.0) * (one.tokens_per_s or 1.0))


def _most(one: Prediction) -> float:
    """Seconds per token, at the upper end of the interval."""
    return (one.high_s or 0.0) / ((one.step_s or 1.0) * (one.tokens_per_s or 1.0))
