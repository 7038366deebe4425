"""Read a checkpoint that nanoGPT's `train.py` saved, without running anything that is in it."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mfubench_model.config import ConfigError, GPTConfig
from mfubench_model.gpt import GPT

if TYPE_CHECKING:
    from pathlib import Path

_COMPILED_PREFIX = "_orig_mod."
"""torch.compile puts this before every name, and nanoGPT saves the compiled module."""


class CheckpointError(ValueError):
    """A file is not a checkpoint that this model can load."""


def load_checkpoint(path: Path) -> GPT:
    """The model in nanoGPT's `ckpt.pt`, on the CPU, in training mode as `GPT(...)` is.

    Only tensors and plain values are unpickled (`weights_only=True`): a file with anything else is
    refused and nothing in it runs. Every parameter must be there with its shape and no other.
    """
    contents = _read(path)
    try:
        config = GPTConfig(**contents["model_args"])
    except (ConfigError, TypeError) as error:
        raise CheckpointError(
            f"{path} describes a model that this one cannot be: {error}"
        ) from error
    state = _parameters(path, contents["model"])
    # Not built on meta: giving meta modules memory would untie the head from the embedding.
    model = GPT(config)
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        problems = "; ".join(line.strip() for line in str(error).splitlines()[1:])
        raise CheckpointError(
            f"The weights in {path} do not fit its model_args: {problems}"
        ) from error
    return model


def _read(path: Path) -> dict[str, Any]:
    """The checkpoint's dictionary, with the two entries that are needed."""
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is not a checkpoint of tensors and plain values, and nothing else is loaded."
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a file that torch.save wrote.") from error
    for key in ("model", "model_args"):
        if not isinstance(contents, dict) or not isinstance(contents.get(key), dict):
            raise CheckpointError(
                f"{path} has no dictionary {key!r}; a checkpoint of nanoGPT's train.py has "
                "'model' and 'model_args'."
            )
    return dict(contents)


def _parameters(path: Path, saved: dict[Any, Any]) -> dict[str, Tensor]:
    """Names without the compiler's prefix, and without the masks that nanoGPT once saved."""
    state: dict[str, Tensor] = {}
    for name, value in saved.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"In {path} the entry {name!r} of 'model' is not a named tensor.")
        plain = name.removeprefix(_COMPILED_PREFIX)
        if not _is_causal_mask(plain, value):
            state[plain] = value
    head, table = state.get("lm_head.weight"), state.get("transformer.wte.weight")
    if head is not None and table is not None and not torch.equal(head, table):
        # They are one parameter here: loading both would silently keep the last.
        raise CheckpointError(
            f"In {path} lm_head.weight and transformer.wte.weight differ; this model ties them."
        )
    return state


def _is_causal_mask(name: str, value: Tensor) -> bool:
    """A (1, 1, T, T) buffer of attention before fused kernels; `c_attn.bias` is a parameter."""
    return (
        name.endswith(".attn.bias")
        and value.dim() == 4
        and value.shape[:2] == (1, 1)
        and value.shape[2] == value.shape[3]
    )
