"""Which bar an operator, a module or a generated kernel belongs to."""

from __future__ import annotations

import pytest
from mfubench_model.config import GPTConfig
from mfubench_model.gpt import GPT
from torch import nn

from mfubench.analysis.components import by_name, component_of, of_fused_kernel, of_module


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("aten::mm", "gemm"),
        ("aten::addmm", "gemm"),
        ("aten::_addmm_activation", "gemm"),
        ("aten::convolution", "gemm"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu_backward", "attention"),
        ("aten::_scaled_dot_product_efficient_attention", "attention"),
        ("aten::gelu", "activation"),
        ("aten::gelu_backward", "activation"),
        ("aten::relu_", "activation"),
        ("aten::native_layer_norm", "normalisation"),
        ("aten::native_layer_norm_backward", "normalisation"),
        ("aten::embedding_dense_backward", "embedding"),
        ("aten::_log_softmax", "loss"),
        ("aten::nll_loss_backward", "loss"),
        ("aten::item", "synchronisation"),
        ("aten::_local_scalar_dense", "synchronisation"),
        ("cudaDeviceSynchronize", "synchronisation"),
        ("aten::clone", "copies"),
        ("aten::_to_copy", "copies"),
        ("aten::contiguous", "copies"),
        ("Memcpy HtoD (Pinned -> Device)", "copies"),
        ("aten::view", "dispatch"),
        ("aten::to", "dispatch"),
        ("aten::scaled_dot_product_attention", "attention"),
        ("autograd::engine::evaluate_function: MmBackward0", "dispatch"),
        ("GeluBackward0", "dispatch"),
        ("torch::autograd::AccumulateGrad", "dispatch"),
        ("aten::add", None),
        ("aten::mul_", None),
        ("mine::mm", None),
    ],
)
def test_a_name_decides_where_it_can_mean_one_thing_only(name: str, component: str | None) -> None:
    assert by_name(name) == component


def test_the_gpts_modules_are_the_components_that_they_are_called() -> None:
    gpt = GPT(GPTConfig(block_size=8, vocab_size=65, n_layer=1, n_head=2, n_embd=16, bias=False))
    found = {name.split(".h.0.")[-1]: of_module(module) for name, module in gpt.named_modules()}
    assert found["attn"] == "attention"
    assert found["attn.c_attn"] == found["mlp.c_fc"] == found["lm_head"] == "gemm"
    assert found["ln_1"] == found["transformer.ln_f"] == "normalisation"
    assert found["mlp"] == found["mlp.gelu"] == "activation"
    assert found["transformer.wte"] == found["transformer.wpe"] == "embedding"
    assert found[""] is None
    assert found["transformer"] is None


@pytest.mark.parametrize(
    ("module", "component"),
    [
        (nn.SiLU(), "activation"),
        (nn.RMSNorm(4), "normalisation"),
        (nn.MultiheadAttention(4, 1), "attention"),
        (nn.CrossEntropyLoss(), "loss"),
        (nn.ModuleList(), None),
        (nn.Dropout(0.1), None),
    ],
)
def test_other_peoples_modules_are_told_by_their_class(
    module: nn.Module, component: str | None
) -> None:
    assert of_module(module) == component


def test_a_module_decides_what_an_addition_is() -> None:
    for component in ("activation", "normalisation", "attention", "embedding", "loss"):
        assert component_of("aten::add", component, "forward") == component
    assert component_of("aten::add", "gemm", "forward") == "residual"  # a bias
    assert component_of("aten::add", None, "backward") == "residual"
    assert component_of("aten::add", None, "") == "unknown"


def test_a_batched_product_is_attentions_inside_attention_only() -> None:
    assert component_of("aten::bmm", "attention", "forward") == "attention"
    assert component_of("aten::baddbmm", "attention", "backward") == "attention"
    assert component_of("aten::bmm", "gemm", "forward") == "gemm"
    assert component_of("aten::mm", "attention", "forward") == "gemm"


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("graph_0_cpp_fused_gelu_2", "activation"),
        ("graph_12_cpp_fused__unsafe_view_gelu_gelu_backward_view_10", "activation"),
        ("cpp_fused_native_layer_norm_0", "normalisation"),
        ("triton_poi_fused_gelu_4", "activation"),
        ("triton_per_fused_native_layer_norm_backward_11", "normalisation"),
        ("triton_poi_fused_add_0", "residual"),
        ("triton_red_fused_add_native_layer_norm_3", "fused: normalisation + residual"),
        (
            "graph_0_cpp_fused_add_gelu_native_layer_norm_1",
            "fused: activation + normalisation + residual",
        ),
        ("triton_poi_fused_add_embedding_0", "embedding"),
        ("triton_per_fused__log_softmax_nll_loss_forward_5", "loss"),
        ("graph_0_cpp_fused__log_softmax_sum_5", "loss"),
        ("triton_poi_fused_clone_7", "copies"),
        ("triton_poi_fused__to_copy_transpose_7", "copies"),
        ("graph_0_cpp_fused_xlogy_7", "fused: unknown"),
        ("triton_poi_fused_xlogy_7", "fused: unknown"),
        ("ampere_sgemm_128x64_tn", None),
        ("aten::gelu", None),
    ],
)
def test_a_generated_kernel_is_told_by_what_was_fused_into_it(
    name: str, component: str | None
) -> None:
    assert of_fused_kernel(name) == component
    if component is not None:
        assert component_of(name, None, "forward") == component


@pytest.mark.parametrize("phase", ["clip", "optimizer", "data", "logging"])
def test_a_phase_that_is_a_bar_owns_what_it_runs(phase: str) -> None:
    for name in ("aten::mm", "aten::copy_", "aten::item", "triton_poi_fused_gelu_4", "mine::new"):
        assert component_of(name, "attention", phase) == phase
