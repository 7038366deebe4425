"""A nanoGPT checkpoint loads whole or is refused, and nothing in it runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import torch
from mfubench_model.checkpoint import CheckpointError, load_checkpoint
from mfubench_model.config import GPTConfig

from tests.unit.model.reference_gpt import random_state

if TYPE_CHECKING:
    from pathlib import Path

MODEL_ARGS: dict[str, Any] = {
    "n_layer": 2,
    "n_head": 3,
    "n_embd": 12,
    "block_size": 10,
    "bias": True,
    "vocab_size": 23,
    "dropout": 0.0,
}


def _state() -> dict[str, torch.Tensor]:
    return random_state(layers=2, width=12, context=10, vocab=23, bias=True)


def _save(path: Path, **entries: Any) -> Path:
    """What nanoGPT's train.py saves, with `entries` in place of its own."""
    checkpoint = {
        "model": _state(),
        "optimizer": {"state": {}, "param_groups": []},
        "model_args": MODEL_ARGS,
        "iter_num": 250,
        "best_val_loss": torch.tensor(1.5),
        "config": {"out_dir": "out", "learning_rate": 1e-3, "compile": True},
    }
    torch.save(checkpoint | entries, path)
    return path


def test_a_compiled_models_checkpoint_loads_and_stays_tied(tmp_path: Path) -> None:
    state = _state()
    path = _save(
        tmp_path / "ckpt.pt", model={"_orig_mod." + name: value for name, value in state.items()}
    )
    gpt = load_checkpoint(path)
    assert gpt.config == GPTConfig(**MODEL_ARGS)
    assert gpt.lm_head.weight is gpt.transformer.wte.weight
    assert set(gpt.state_dict()) == set(state)
    assert all(torch.equal(value, state[name]) for name, value in gpt.state_dict().items())


def test_masks_of_old_checkpoints_are_ignored(tmp_path: Path) -> None:
    masks = {
        f"transformer.h.{layer}.attn.bias": torch.ones(1, 1, 10, 10).tril() for layer in range(2)
    }
    gpt = load_checkpoint(_save(tmp_path / "ckpt.pt", model=_state() | masks))
    assert torch.equal(
        gpt.state_dict()["transformer.h.1.attn.c_attn.bias"],
        _state()["transformer.h.1.attn.c_attn.bias"],
    )


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"transformer.h.0.attn.bias": torch.ones(12)}, "Unexpected key.*attn.bias"),
        ({"transformer.h.9.ln_1.weight": torch.ones(12)}, "Unexpected key"),
        ({"transformer.wpe.weight": torch.ones(11, 12)}, "size mismatch"),
        ({"lm_head.weight": torch.zeros(23, 12)}, "differ; this model ties them"),
        ({"lm_head.weight": "zeros"}, "'lm_head.weight' of 'model' is not a named tensor"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    tmp_path: Path, extra: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(_save(tmp_path / "ckpt.pt", model=_state() | extra))


def test_a_missing_weight_is_refused(tmp_path: Path) -> None:
    state = _state()
    del state["transformer.ln_f.weight"]
    with pytest.raises(CheckpointError, match="Missing key"):
        load_checkpoint(_save(tmp_path / "ckpt.pt", model=state))


@pytest.mark.parametrize(
    ("model_args", "message"),
    [
        (MODEL_ARGS | {"n_embd": 13}, "must be a multiple of n_head"),
        (MODEL_ARGS | {"n_experts": 4}, "n_experts"),
        (None, "has no dictionary 'model_args'"),
    ],
)
def test_a_model_that_cannot_be_is_refused(
    tmp_path: Path, model_args: object, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(_save(tmp_path / "ckpt.pt", model_args=model_args))


class _RunsWhenUnpickled:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (self.command,)


def test_a_checkpoint_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    path = _save(tmp_path / "ckpt.pt", config=_RunsWhenUnpickled(f"touch '{witness}'"))
    with pytest.raises(CheckpointError, match="nothing else is loaded"):
        load_checkpoint(path)
    assert not witness.exists()


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut short", bytes(1000)])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ckpt.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"ckpt\.pt is not a"):
        load_checkpoint(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"absent\.pt cannot be read: No such file"):
        load_checkpoint(tmp_path / "absent.pt")


def test_a_list_of_tensors_is_not_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "list.pt"
    torch.save([torch.zeros(2)], path)
    with pytest.raises(CheckpointError, match="has no dictionary 'model'"):
        load_checkpoint(path)
