"""The matrix products of a step are all of its products, and bandwidth is of the right size."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from mfubench_model.flops import component_flops
from torch.nn.attention import SDPBackend, sdpa_kernel

from mfubench.hardware.devices import CpuDevice
from mfubench.measure import bandwidth
from mfubench.measure.bandwidth import BandwidthCurve, measure_curve
from mfubench.measure.gemms import Gemm, capture_gemms, time_alone
from mfubench.measure.gpt_workload import GPTWorkload
from mfubench.measure.train_step import TrainStep

LINEAR = ("qkv", "projection", "mlp", "head")


pytestmark = pytest.mark.usefixtures("one_thread")


def made(workload: GPTWorkload, dtype: str = "float32") -> TrainStep:
    return TrainStep(workload, CpuDevice(), dtype=dtype, compile=False)


def flops_of(gemms: Counter[Gemm]) -> int:
    return sum(gemm.flops * count for gemm, count in gemms.items())


def with_layers(workload: GPTWorkload, layers: int, *, bias: bool) -> GPTWorkload:
    config = replace(workload.preset.config, n_layer=layers, bias=bias)
    return replace(workload, preset=replace(workload.preset, config=config))


@pytest.mark.parametrize(("layers", "bias"), [(1, False), (3, False), (2, True)])
def test_every_linear_layer_is_three_products_and_their_flops_are_the_formulas(
    tiny_workload: GPTWorkload, layers: int, bias: bool
) -> None:
    workload = with_layers(tiny_workload, layers, bias=bias)
    gemms = capture_gemms(made(workload))
    linear_layers = 4 * layers + 1
    assert gemms.total() == 3 * linear_layers
    formula = component_flops(workload.preset.config, workload.batch_size)
    assert flops_of(gemms) == sum(formula[name].total for name in LINEAR)
    assert flops_of(gemms) == workload.component_costs("float32")["gemm"].flops


def test_low_precision_products_are_captured_in_low_precision(tiny_workload: GPTWorkload) -> None:
    gemms = capture_gemms(made(tiny_workload, "bfloat16"))
    dtypes = {dtype for gemm in gemms for _, _, dtype in gemm.operands}
    assert dtypes == {torch.bfloat16}
    assert flops_of(gemms) == tiny_workload.component_costs("bfloat16")["gemm"].flops


def test_capturing_leaves_the_step_as_it_was(tiny_workload: GPTWorkload) -> None:
    step = made(tiny_workload)
    before = [parameter.detach().clone() for parameter in step.model.parameters()]
    capture_gemms(step)
    for old, parameter in zip(before, step.model.parameters(), strict=True):
        assert torch.equal(old, parameter)
        assert parameter.grad is None


def test_flops_are_two_per_multiply_and_add_and_a_bias_is_free() -> None:
    f32 = torch.float32
    product = Gemm("mm", (((3, 5), (5, 1), f32), ((5, 7), (7, 1), f32)))
    assert product.flops == 2 * 3 * 5 * 7
    assert Gemm("addmm", (((7,), (1,), f32), *product.operands)).flops == product.flops


def test_unfused_attentions_batched_products_stay_with_attention(
    tiny_workload: GPTWorkload,
) -> None:
    step = made(tiny_workload)
    with sdpa_kernel(SDPBackend.MATH):
        gemms = capture_gemms(step)
    assert flops_of(gemms) == tiny_workload.component_costs("float32")["gemm"].flops


@pytest.mark.parametrize("bias", [False, True])
def test_products_alone_take_time_and_each_counts_as_often_as_it_runs(
    tiny_workload: GPTWorkload, monkeypatch: pytest.MonkeyPatch, bias: bool
) -> None:
    monkeypatch.setattr("mfubench.measure.gemms.ROUND_S", 1e-4)
    monkeypatch.setattr("mfubench.measure.gemms.ROUNDS", 2)
    gemms = capture_gemms(made(with_layers(tiny_workload, 1, bias=bias)))
    assert time_alone(gemms, CpuDevice()) > 0
    assert time_alone(Counter(), CpuDevice()) == 0
    monkeypatch.setattr("mfubench.measure.gemms._alone_s", lambda gemm, device: 0.5)
    assert time_alone(gemms, CpuDevice()) == 0.5 * gemms.total()


def test_a_working_set_has_the_bandwidth_of_the_smallest_size_that_holds_it() -> None:
    curve = BandwidthCurve({2**24: 2.0, 2**16: 4.0, 2**20: 3.0})
    asked = {0: 4.0, 2**16: 4.0, 2**16 + 1: 3.0, 2**20: 3.0, 2**21: 2.0, 2**24: 2.0, 2**30: 2.0}
    assert {size: curve.at(size) for size in asked} == asked


def test_a_measured_curve_has_every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth, "ROUND_S", 1e-5)
    monkeypatch.setattr(bandwidth, "SIZES_BYTES", (2**16, 2**20))
    curve = measure_curve(CpuDevice())
    assert curve.bytes_per_s.keys() == {2**16, 2**20}
    assert all(rate > 0 for rate in curve.bytes_per_s.values())
