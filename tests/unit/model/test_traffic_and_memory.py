"""Traffic and memory, worked out by hand for a model small enough to do so."""

from __future__ import annotations

import pytest
from mfubench_model.config import ConfigError, GPTConfig
from mfubench_model.memory import training_memory
from mfubench_model.presets import get_preset
from mfubench_model.traffic import clip_bytes_per_step, component_bytes, optimizer_bytes_per_step

# B=1, T=2, so N=2 tokens; C=4; V=3; one layer, two heads, no biases; 4 bytes each.
HAND = GPTConfig(block_size=2, vocab_size=3, n_layer=1, n_head=2, n_embd=4, bias=False)


def test_each_components_bytes_by_hand() -> None:
    stream = 4 * 2 * 4
    moved = {name: (part.forward, part.backward) for name, part in component_bytes(HAND, 1).items()}
    assert moved == {
        "embedding": (16 + 4 * 4 * (2 + 2) + stream, 16 + stream + 4 * 4 * (3 + 2)),
        "norm": (3 * (2 * stream + 16 + 16), 3 * (3 * stream + 2 * 16 + 16)),
        "qkv": (4 * stream + 4 * 48, 5 * stream + 2 * 4 * 48),
        "attention": (4 * stream + 16, 8 * stream + 16),
        "projection": (2 * stream + 4 * 16, 3 * stream + 2 * 4 * 16),
        "mlp_matmul": (2 * (5 * stream + 4 * 64), (6 + 9) * stream + 2 * 2 * 4 * 64),
        "activation": (8 * stream, 12 * stream),
        "residual": (2 * 3 * stream, 2 * 3 * stream),
        "head": (stream + 4 * 12 + 4 * 6, 4 * 6 + 2 * stream + 2 * 4 * 12),
        "loss": (4 * 6 + 16 + 8, 2 * 4 * 6 + 16 + 8),
    }


def test_biases_are_read_in_forward_and_their_gradients_written_in_backward() -> None:
    with_bias = GPTConfig(block_size=2, vocab_size=3, n_layer=1, n_head=2, n_embd=4, bias=True)
    plain, biased = component_bytes(HAND, 1), component_bytes(with_bias, 1)
    assert biased["qkv"].forward - plain["qkv"].forward == 4 * 12
    assert biased["qkv"].backward - plain["qkv"].backward == 4 * 12
    assert biased["norm"].total - plain["norm"].total == 3 * 2 * 4 * 4
    assert biased["head"] == plain["head"]


def test_optimizer_and_clipping_pass_over_every_parameter() -> None:
    parameters = 3 * 4 + 2 * 4 + 12 * 16 + 3 * 4
    assert optimizer_bytes_per_step(HAND) == 7 * 4 * parameters
    assert clip_bytes_per_step(HAND) == 3 * 4 * parameters


@pytest.mark.parametrize("name", ["activation_bytes", "weight_bytes"])
def test_an_element_of_no_bytes_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is 0"):
        component_bytes(HAND, 1, **{name: 0})


def test_memory_says_what_dtypes_it_knows() -> None:
    with pytest.raises(ConfigError, match="one of float32, bfloat16, float16"):
        training_memory(HAND, 1, dtype="int8")


def test_gpt2s_batch_is_known_not_to_fit_a_small_card_and_to_fit_a_large_one() -> None:
    preset = get_preset("gpt2")
    needed = training_memory(preset.config, preset.batch_size, device_type="cuda").total_bytes
    assert 12 * 2**30 < needed < 40 * 2**30
    half = training_memory(
        preset.config, preset.batch_size, dtype="bfloat16", device_type="cuda"
    ).total_bytes
    assert 0.5 * needed < half < needed
