"""Named training set-ups: what is trained, on how much at once, and how, with nanoGPT's values."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from mfubench_model.config import GPTConfig

if TYPE_CHECKING:
    from collections.abc import Mapping


class UnknownPresetError(ValueError):
    """No preset has the name that was asked for."""


@dataclass(frozen=True, slots=True)
class Preset:
    """One training set-up. Evaluation and logging intervals are part of it: they take time in a
    real run."""

    name: str
    config: GPTConfig
    batch_size: int
    """Sequences per optimizer step on one device, without gradient accumulation."""
    eval_interval: int
    """Optimizer steps from one evaluation to the next."""
    eval_iters: int
    """Batches per evaluation and split (train and val are both evaluated)."""
    log_interval: int
    """Optimizer steps from one printed loss to the next; each print waits for the device."""
    max_iters: int
    """Optimizer steps in the whole run."""
    learning_rate: float
    beta1: float
    beta2: float
    description: str
    nanogpt_config: str
    """nanoGPT's configuration file that comes nearest; what differs is a flag."""
    weight_decay: float = 0.1
    grad_clip: float = 1.0
    """Largest allowed norm of all gradients together; 0 turns clipping off."""


def _gpt2(name: str, *, n_layer: int, n_head: int, n_embd: int, millions: int) -> Preset:
    """GPT-2 in one of its four sizes with the settings of nanoGPT's `config/train_gpt2.py`.

    The larger sizes keep the batch and learning rate of the smallest: nanoGPT has no file for them,
    and a comparison across sizes should change the size alone.
    """
    return Preset(
        name=name,
        config=GPTConfig(
            block_size=1024,
            vocab_size=50304,
            n_layer=n_layer,
            n_head=n_head,
            n_embd=n_embd,
            bias=False,
        ),
        batch_size=12,
        eval_interval=1000,
        eval_iters=200,
        log_interval=10,
        max_iters=600_000,
        learning_rate=6e-4,
        beta1=0.9,
        beta2=0.95,
        description=f"GPT-2 with {millions} million parameters, as nanoGPT's config/train_gpt2.py.",
        nanogpt_config="config/train_gpt2.py",
    )


_ALL = (
    Preset(
        name="nanogpt-cpu",
        config=GPTConfig(block_size=64, vocab_size=65, n_layer=4, n_head=4, n_embd=128, bias=False),
        batch_size=12,
        eval_interval=250,
        eval_iters=20,
        log_interval=1,
        max_iters=2000,
        learning_rate=1e-3,
        beta1=0.9,
        beta2=0.99,
        description="The command line for a CPU in nanoGPT's README: 0.8 million parameters.",
        nanogpt_config="config/train_shakespeare_char.py",
    ),
    Preset(
        name="shakespeare-char",
        config=GPTConfig(
            block_size=256, vocab_size=65, n_layer=6, n_head=6, n_embd=384, dropout=0.2, bias=False
        ),
        batch_size=64,
        eval_interval=250,
        eval_iters=200,
        log_interval=10,
        max_iters=5000,
        learning_rate=1e-3,
        beta1=0.9,
        beta2=0.99,
        description="nanoGPT's config/train_shakespeare_char.py: 10.6 million parameters.",
        nanogpt_config="config/train_shakespeare_char.py",
    ),
    _gpt2("gpt2", n_layer=12, n_head=12, n_embd=768, millions=124),
    _gpt2("gpt2-medium", n_layer=24, n_head=16, n_embd=1024, millions=354),
    _gpt2("gpt2-large", n_layer=36, n_head=20, n_embd=1280, millions=773),
    _gpt2("gpt2-xl", n_layer=48, n_head=25, n_embd=1600, millions=1557),
)

PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _ALL})
"""Every preset by name, smallest first."""


def get_preset(name: str) -> Preset:
    """The preset of that name.

    >>> get_preset("nanogpt-cpu").batch_size
    12
    >>> get_preset("gpt2-midium")
    Traceback (most recent call last):
        ...
    mfubench_model.presets.UnknownPresetError: There is no preset 'gpt2-midium'; did you mean \
'gpt2-medium'?
    \
Allowed: nanogpt-cpu, shakespeare-char, gpt2, gpt2-medium, gpt2-large, gpt2-xl.
    """
    try:
        return PRESETS[name]
    except KeyError:
        near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise UnknownPresetError(
            f"There is no preset {name!r}{hint} Allowed: {', '.join(PRESETS)}."
        ) from None
