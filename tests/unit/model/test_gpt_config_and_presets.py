"""A configuration is nanoGPT's or is refused; a preset is nanoGPT's command line."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
from mfubench_model.config import ConfigError, GPTConfig
from mfubench_model.presets import PRESETS, UnknownPresetError, get_preset


def test_fields_order_and_defaults_are_nanogpts() -> None:
    assert dataclasses.asdict(GPTConfig()) == {
        "block_size": 1024,
        "vocab_size": 50304,
        "n_layer": 12,
        "n_head": 12,
        "n_embd": 768,
        "dropout": 0.0,
        "bias": True,
    }
    assert [field.name for field in dataclasses.fields(GPTConfig)][:2] == [
        "block_size",
        "vocab_size",
    ]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("n_layer", 0, "n_layer is 0; it must be an integer of at least 1"),
        ("block_size", -1, "block_size is -1"),
        ("vocab_size", None, "vocab_size is None"),
        ("n_head", True, "n_head is True"),
        ("n_embd", 768.0, r"n_embd is 768\.0"),
        ("n_embd", 770, "n_embd must be a multiple of n_head"),
        ("dropout", 1.0, r"dropout is 1\.0; it must be a number of at least 0 and below 1"),
        ("dropout", float("nan"), "dropout is nan"),
        ("dropout", "0.1", "dropout is '0.1'"),
        ("bias", 1, "bias is 1; it must be True or False"),
    ],
)
def test_an_impossible_dimension_is_named_with_what_is_allowed(
    field: str, value: object, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        GPTConfig(**{field: value})


def test_the_cpu_preset_is_nanogpts_readme_command() -> None:
    preset = get_preset("nanogpt-cpu")
    assert preset.config == GPTConfig(
        block_size=64, vocab_size=65, n_layer=4, n_head=4, n_embd=128, dropout=0.0, bias=False
    )
    assert (preset.batch_size, preset.eval_interval, preset.eval_iters) == (12, 250, 20)
    assert (preset.log_interval, preset.max_iters, preset.learning_rate) == (1, 2000, 1e-3)
    assert (preset.beta1, preset.beta2) == (0.9, 0.99)
    assert (preset.weight_decay, preset.grad_clip) == (0.1, 1.0)


def test_presets_are_found_by_their_own_names_and_ordered_by_size() -> None:
    assert all(get_preset(name).name == name for name in PRESETS)
    assert list(PRESETS) == [
        "nanogpt-cpu",
        "shakespeare-char",
        "gpt2",
        "gpt2-medium",
        "gpt2-large",
        "gpt2-xl",
    ]
    assert get_preset("shakespeare-char").config.dropout == 0.2


@pytest.mark.parametrize(
    ("name", "hint"),
    [("nanogptcpu", "did you mean 'nanogpt-cpu'"), ("", "Allowed: nanogpt-cpu")],
)
def test_an_unknown_preset_is_answered_with_all_names_and_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UnknownPresetError, match=hint) as caught:
        get_preset(name)
    assert all(allowed in str(caught.value) for allowed in PRESETS)


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("config presets parameters conventions flops traffic memory", "torch numpy"),
        ("corpus tokens", "torch"),
    ],
)
def test_formulas_and_data_do_not_import_torch(modules: str, absent: str) -> None:
    program = (
        "import importlib, sys\n"
        f"for name in {modules.split()!r}: importlib.import_module('mfubench_model.' + name)\n"
        f"sys.exit(' '.join(sorted(set({absent.split()!r}) & set(sys.modules))))"
    )
    done = subprocess.run(  # a fresh interpreter: this one has torch
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == ""
