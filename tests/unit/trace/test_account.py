"""Made-up traces whose every microsecond is known: the bars are the truth, exactly."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfubench.trace import idle
from mfubench.trace.build import trace_account
from mfubench.trace.document import Step, TraceAccount
from tests.trace_builder import BACKWARD, TraceBuilder

GEMM = "ampere_sgemm_128x64_nn"
ADD = "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>"
NCCL = "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)"


def account(trace: TraceBuilder, tmp_path: Path, **given: str) -> TraceAccount:
    return trace_account([trace.write(tmp_path / "trace.json")], **given)


def bars_us(step: Step) -> dict[str, float]:
    found = {bar.name: round(bar.seconds * 1e6, 6) for bar in step.account}
    assert sum(found.values()) == pytest.approx(step.step_s * 1e6, abs=1e-6)
    return found


def only(trace: TraceBuilder, tmp_path: Path) -> Step:
    (step,) = account(trace, tmp_path).steps
    return step


def test_streams_that_overlap_are_counted_once_and_shown(tmp_path: Path) -> None:
    trace = TraceBuilder()
    trace.step(1, 0, 100)
    trace.op("aten::mm", 0, 5)
    trace.launch(GEMM, (1, 3), (10, 60))
    trace.launch(NCCL, (6, 8), (40, 90), stream=9)
    step = only(trace, tmp_path)
    assert bars_us(step) == {
        "gemm": 50.0,
        "communication": 30.0,
        idle.HOST: 8.0 - 5.0 + 10.0,
        idle.LAUNCHED: 7.0,
    }
    assert (step.device_busy_s, step.device_sum_s) == pytest.approx((80e-6, 100e-6))
    assert (step.communication_s, step.communication_exposed_s) == pytest.approx((50e-6, 30e-6))


def test_a_gap_says_what_the_host_did_until_it_launched(tmp_path: Path) -> None:
    trace = TraceBuilder()
    trace.step(1, 0, 100)
    trace.launch(GEMM, (0, 2), (2, 10))
    trace.call("cudaStreamSynchronize", 4, 15)  # 5 after the kernel has ended
    trace.range("enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__", 20, 40)
    trace.range("gloo:all_reduce", 45, 50)
    trace.launch(GEMM, (58, 60), (63, 90))
    assert bars_us(only(trace, tmp_path)) == {
        "gemm": 35.0,
        idle.SYNC: 5.0,
        idle.DATA: 20.0,
        idle.RANKS: 5.0,
        # until the first launch returned; 15 to 20, 40 to 45, 50 to 60; after the last kernel
        idle.HOST: 2.0 + 5.0 + 5.0 + 10.0 + 10.0,
        idle.LAUNCHED: 3.0,
    }


def test_a_copy_of_pageable_memory_is_waited_for(tmp_path: Path) -> None:
    trace = TraceBuilder()
    trace.step(1, 0, 50)
    trace.launch(
        "Memcpy HtoD (Pageable -> Device)",
        (5, 30),
        (20, 30),
        by="cudaMemcpyAsync",
        category="gpu_memcpy",
    )
    trace.launch(GEMM, (32, 34), (34, 50))
    assert bars_us(only(trace, tmp_path)) == {
        "gemm": 16.0,
        "host copies": 10.0,
        idle.HOST: 5.0 + 4.0,
        idle.SYNC: 15.0,
    }


def test_what_links_to_nothing_has_a_bar_and_is_not_idle(tmp_path: Path) -> None:
    trace = TraceBuilder()
    trace.step(1, 0, 50)
    trace.launch(ADD, (0, 1), (0, 20), is_linked=False)
    trace.launch(GEMM, (10, 12), (25, 50))
    step = only(trace, tmp_path)
    assert bars_us(step) == {"gemm": 25.0, "unlinked": 20.0, idle.LAUNCHED: 5.0}
    assert step.unlinked_s == pytest.approx(20e-6)


def test_a_launch_whose_kernel_is_not_recorded_is_not_called_idle(tmp_path: Path) -> None:
    trace = TraceBuilder()
    trace.step(1, 0, 100)
    trace.launch(GEMM, (0, 2), (2, 20))
    trace.launch(GEMM, (10, 12), (20, 80), is_recorded=False)
    trace.launch(GEMM, (14, 16), (80, 100))
    found = account(trace, tmp_path)
    assert bars_us(found.steps[0]) == {"gemm": 38.0, idle.LOST: 60.0, idle.HOST: 2.0}
    assert found.steps[0].lost_launches == 1
    assert any("no kernel is recorded" in note for note in found.ranks[0].notes)


def test_kernels_of_a_graph_are_what_their_names_say(tmp_path: Path) -> None:
    """The operator around a replay is all of them at once, and none of them is dispatch."""
    trace = TraceBuilder()
    trace.step(1, 0, 100)
    trace.op("CompiledFunction", 0, 10)
    graph = trace.launch(GEMM, (1, 4), (5, 35), by="cudaGraphLaunch")
    trace.device_event("triton_poi_fused_gelu_0", 35, 45, correlation=graph)
    trace.device_event("triton_tem_fused_mm_1", 46, 66, correlation=graph)
    step = only(trace, tmp_path)
    assert bars_us(step) == {
        "gemm": 50.0,
        "activation": 10.0,
        idle.GRAPH: 2.0,
        idle.HOST: 4.0 + 34.0,
    }
    assert (step.graph_launches, step.launches) == (1, 1)
    assert sum(bar.graph_s for bar in step.account) == pytest.approx(60e-6)


def test_the_optimizers_kernels_need_no_operator(tmp_path: Path) -> None:
    trace = TraceBuilder()
    trace.step(1, 0, 20)
    trace.range("Optimizer.step#FusedAdam.step", 0, 10)
    trace.launch("multi_tensor_apply_kernel<AdamFunctor<float>>", (0, 0), (0, 20))
    assert bars_us(only(trace, tmp_path)) == {"optimizer": 20.0}


def test_the_backward_thread_is_the_steps_too(tmp_path: Path) -> None:
    trace = TraceBuilder()
    trace.step(1, 0, 20)
    trace.op("autograd::engine::evaluate_function: GeluBackward0", 0, 8, thread=BACKWARD)
    trace.op("aten::gelu_backward", 1, 7, thread=BACKWARD)
    trace.launch("GeluBackwardCUDAKernelImpl", (2, 3), (3, 20), thread=BACKWARD)
    step = only(trace, tmp_path)
    assert bars_us(step) == {"activation": 17.0, idle.HOST: 3.0}
    assert step.operators == 2


def test_modules_of_a_recorded_stack_tell_what_names_do_not(tmp_path: Path) -> None:
    trace = TraceBuilder()
    trace.step(1, 0, 20)
    trace.event("python_function", "nn.Module: LayerNorm_3", 0, 9)
    trace.op("aten::pow", 1, 4)
    trace.launch("pow_kernel", (2, 3), (3, 13))
    trace.op("aten::erf", 10, 14)
    trace.launch("erf_kernel", (12, 13), (13, 20))
    assert bars_us(only(trace, tmp_path)) == {
        "normalisation": 10.0,
        "other operators": 7.0,
        idle.HOST: 3.0,
    }


def test_steps_apart_and_the_median_one_shown(tmp_path: Path) -> None:
    trace = TraceBuilder()
    for number, (start, end) in enumerate(((0, 100), (100, 160), (160, 230)), start=5):
        trace.step(number, start, end)
        trace.op("aten::mm", start, start + 5)
        trace.launch(GEMM, (start + 1, start + 2), (start + 2, end - 10))
    trace.step(8, 230, 231)  # the profiler stopped here: nothing in it
    found = account(trace, tmp_path)
    assert [step.name for step in found.steps] == ["step 5", "step 6", "step 7"]
    assert found.ranks[0].median_step == "step 7"
    assert {step.operators for step in found.steps} == {1}
    assert found.marked


def test_a_trace_without_marks_is_one_window_and_said_to_be(tmp_path: Path) -> None:
    trace = TraceBuilder()
    trace.op("aten::mm", 0, 10)
    trace.launch(GEMM, (1, 2), (2, 40))
    found = account(trace, tmp_path)
    assert (len(found.steps), found.marked) == (1, False)
    assert found.steps[0].step_s == pytest.approx(40e-6)
    assert any("no step is marked" in note for note in found.ranks[0].notes)


def test_a_device_behind_the_host_is_said_to_be(tmp_path: Path) -> None:
    trace = TraceBuilder()
    trace.launch(GEMM, (0, 2), (10, 60))
    trace.step(1, 5, 60)
    trace.launch(GEMM, (8, 10), (60, 110))
    found = account(trace, tmp_path)
    assert found.steps[0].earlier_launch_s == pytest.approx(50e-6)
    assert any("behind the host" in note for note in found.ranks[0].notes)


def test_hip_names_and_torch_1_11s_layout(tmp_path: Path) -> None:
    """Other category names, ids as text, streams named in the thread, no stream argument."""
    trace = TraceBuilder("AMD Instinct MI300X", runtime="hip")
    trace.event("Operator", "aten::mm", 0, 5, External_id="9", Input_Dims=[[2, 3], [3, 4]])
    trace.event("Runtime", "hipExtModuleLaunchKernel", 1, 2, correlation="44")
    made = trace.event("Kernel", "Cijk_Alik_Bljk_SB", 2, 12, pid=0, tid="stream 7")
    made["args"] = {"external id": "44", "correlation": "44", "stream": "7", "device": "0"}
    made["ts"] = str(made["ts"])
    step = only(trace, tmp_path)
    assert bars_us(step) == {"gemm": 10.0, idle.HOST: 2.0}
    assert step.flops == 48
    assert step.streams[0].name == "7"


def test_a_missing_correlation_id_is_made_up_for_by_the_external_id(tmp_path: Path) -> None:
    trace = TraceBuilder()
    trace.event("cpu_op", "aten::mm", 0, 5, External_id=31)
    trace.device_event(GEMM, 5, 15, correlation=None, External_id=31)
    trace.device_event(GEMM, 15, 20, correlation=None, External_id=77)
    step = only(trace, tmp_path)
    assert bars_us(step) == {"gemm": 10.0, "unlinked": 5.0, idle.UNKNOWN: 5.0}


def test_flops_of_each_product_and_the_mfu(tmp_path: Path) -> None:
    """A product of 1024³ in 20 µs and a causal attention, on a device that the trace names."""
    trace = TraceBuilder()
    trace.step(1, 0, 100)
    types = ["c10::BFloat16", "c10::BFloat16"]
    trace.op("aten::mm", 0, 5, Input_Dims=[[1024, 1024], [1024, 1024]], Input_type=types)
    trace.launch("ampere_bf16_s16816gemm_bf16_128x128", (1, 2), (2, 22))
    sizes = [[2, 4, 64, 32]] * 3
    trace.op(
        "aten::_scaled_dot_product_flash_attention",
        6,
        9,
        Input_Dims=[*sizes, [], []],
        Input_type=[*types, types[0], "Scalar", "Scalar"],
        Concrete_Inputs=["", "", "", "0.", "True"],
    )
    trace.launch("flash_fwd_kernel", (7, 8), (22, 32))
    step = only(trace, tmp_path)
    products = {gemm.operator: gemm for gemm in step.gemms}
    assert products["aten::mm"].flops == pytest.approx(2 * 1024**3)
    assert products["aten::mm"].of_peak == pytest.approx(2 * 1024**3 / 20e-6 / 312e12)
    attention = products["aten::_scaled_dot_product_flash_attention"]
    assert attention.flops == pytest.approx(2 * 2 * 4 * (64 * 65 // 2) * 32 * 2)
    assert step.mfu == pytest.approx((2 * 1024**3 + attention.flops) / 100e-6 / 312e12)


def test_the_named_device_overrules_the_traces(tmp_path: Path) -> None:
    trace = TraceBuilder("some card")
    trace.op("aten::mm", 0, 5, Input_Dims=[[64, 64], [64, 64]], Input_type=["float", "float"])
    trace.launch("volta_sgemm_64x64_nn", (1, 2), (2, 22))
    unknown = account(trace, tmp_path)
    assert (unknown.steps[0].mfu, unknown.device.name) == (None, "some card")
    assert "no peak is known" in unknown.notes[0]
    known = account(trace, tmp_path, device="Tesla V100-SXM2-32GB")
    assert known.steps[0].mfu == pytest.approx(2 * 64**3 / 22e-6 / 15.7e12, rel=0.01)


def test_two_ranks_whose_clocks_differ_and_who_waits(tmp_path: Path) -> None:
    """Rank 1 comes 20 µs later to the collective; its clock is an hour ahead."""
    paths = []
    for rank, starts in ((0, 30), (1, 50)):
        trace = TraceBuilder(rank=rank, world_size=2, clock_us=3.6e9 * rank)
        trace.step(3, 0, 100)
        trace.launch(GEMM, (0, 2), (2, starts))
        trace.launch(NCCL, (4, 6), (starts, 60))
        paths.append(trace.write(tmp_path / f"rank{rank}.json"))
    found = trace_account(paths[::-1])
    assert [rank.rank for rank in found.ranks] == [0, 1]
    assert [step.communication_waiting_s for step in found.steps] == pytest.approx([20e-6, 0.0])


def test_a_second_device_is_named_and_left_out(tmp_path: Path) -> None:
    trace = TraceBuilder()
    trace.launch(GEMM, (0, 2), (2, 12))
    trace.launch(GEMM, (4, 6), (12, 22))
    trace.device_event(ADD, 5, 9, correlation=3)
    trace.events[-1]["args"]["device"] = 1
    found = account(trace, tmp_path)
    assert found.steps[0].device_busy_s == pytest.approx(20e-6)
    assert any("other devices" in note for note in found.ranks[0].notes)


def test_what_is_captured_is_not_lost(tmp_path: Path) -> None:
    """While a graph is captured, launches run nothing."""
    trace = TraceBuilder()
    trace.step(1, 0, 50)
    trace.call("cudaStreamBeginCapture", 0, 1)
    trace.launch(GEMM, (2, 4), (0, 0), is_recorded=False)
    trace.call("cudaStreamEndCapture", 5, 6)
    trace.launch(GEMM, (8, 10), (10, 50), by="cudaGraphLaunch")
    step = only(trace, tmp_path)
    assert step.lost_launches == 0
    assert bars_us(step) == {"gemm": 40.0, idle.HOST: 10.0}


def test_a_call_of_the_driver_inside_one_of_the_runtime_is_one_launch(tmp_path: Path) -> None:
    """Both carry the kernel's id."""
    trace = TraceBuilder()
    trace.step(1, 0, 20)
    correlation = trace.launch(GEMM, (0, 4), (4, 20))
    trace.event("cuda_driver", "cuLaunchKernel", 1, 3, correlation=correlation)
    step = only(trace, tmp_path)
    assert step.lost_launches == 0
    assert bars_us(step) == {"gemm": 16.0, idle.HOST: 4.0}


def test_intels_names(tmp_path: Path) -> None:
    trace = TraceBuilder("Intel(R) Data Center GPU Max 1550", runtime="xpu")
    trace.step(1, 0, 40)
    trace.op("aten::addmm", 0, 6)
    trace.launch("gemm_kernel", (1, 4), (4, 20), by="urEnqueueKernelLaunch")
    trace.call("urQueueFinish", 6, 25)
    assert bars_us(only(trace, tmp_path)) == {"gemm": 16.0, idle.HOST: 4.0 + 15.0, idle.SYNC: 5.0}


def test_a_lost_launch_is_in_one_gap_only(tmp_path: Path) -> None:
    """Later gaps lie behind kernels that were launched after it."""
    trace = TraceBuilder()
    trace.step(1, 0, 60)
    trace.launch(GEMM, (0, 2), (2, 10))
    trace.launch(GEMM, (3, 4), (0, 0), is_recorded=False)
    trace.launch(GEMM, (5, 6), (20, 30))
    trace.launch(GEMM, (7, 8), (40, 60))
    assert bars_us(only(trace, tmp_path)) == {
        "gemm": 38.0,
        idle.HOST: 2.0,
        idle.LOST: 10.0,
        idle.LAUNCHED: 10.0,
    }


def test_waits_inside_each_other_count_once(tmp_path: Path) -> None:
    """A data loader that synchronises, inside a barrier: the widest cause is named."""
    trace = TraceBuilder()
    trace.step(1, 0, 50)
    trace.range("gloo:barrier", 0, 10)
    trace.range("enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__", 5, 30)
    trace.call("cudaStreamSynchronize", 8, 36)
    trace.launch(GEMM, (38, 40), (40, 50))
    assert bars_us(only(trace, tmp_path)) == {
        "gemm": 10.0,
        idle.RANKS: 10.0,
        idle.DATA: 20.0,
        idle.SYNC: 6.0,
        idle.HOST: 4.0,
    }


def test_what_an_operator_does_around_a_replay_decides_nothing(tmp_path: Path) -> None:
    """`aten::add` replays nothing, but a custom operator may; its name is not its kernels'."""
    trace = TraceBuilder()
    trace.step(1, 0, 40)
    trace.op("aten::layer_norm", 0, 10)
    trace.op("aten::native_layer_norm", 0, 9)
    trace.launch(GEMM, (1, 4), (4, 40), by="cudaGraphLaunch")
    assert bars_us(only(trace, tmp_path)) == {"gemm": 36.0, idle.HOST: 4.0}


def test_a_call_after_an_operator_is_not_in_it(tmp_path: Path) -> None:
    trace = TraceBuilder()
    trace.step(1, 0, 40)
    trace.op("aten::gelu", 0, 5)
    trace.launch("my_kernel", (10, 12), (12, 40))
    assert bars_us(only(trace, tmp_path)) == {"outside operators": 28.0, idle.HOST: 12.0}


def test_the_flops_of_a_product_of_two_kernels_count_once(tmp_path: Path) -> None:
    """A split product and its reduction; half of the second lies behind the step's end."""
    trace = TraceBuilder()
    trace.step(1, 0, 40)
    types = ["float", "float"]
    trace.op("aten::mm", 0, 6, Input_Dims=[[64, 64], [64, 64]], Input_type=types)
    trace.launch("volta_sgemm_splitk", (1, 2), (10, 30))
    trace.launch("splitKreduce_kernel", (3, 4), (30, 50))
    assert only(trace, tmp_path).flops == pytest.approx(2 * 64**3 * 0.75)


def test_a_product_under_autocast_is_of_the_format_that_it_was_cast_to(tmp_path: Path) -> None:
    """`aten::linear` is given float32 and calls `aten::mm` in bfloat16: seen on an H200, where the
    MFU was three times too high."""
    trace = TraceBuilder()
    trace.step(1, 0, 100)
    sizes = {"Input_Dims": [[64, 32], [16, 32], []], "Input_type": ["float", "float", ""]}
    trace.op("aten::linear", 0, 20, **sizes)
    inner = {"Input_Dims": [[64, 32], [32, 16]], "Input_type": ["c10::BFloat16", "c10::BFloat16"]}
    trace.op("aten::mm", 5, 15, **inner)
    trace.launch(GEMM, (6, 8), (10, 20))
    (gemm,) = only(trace, tmp_path).gemms
    assert (gemm.operator, gemm.dtype) == ("aten::linear", "bfloat16")
    assert gemm.flops == pytest.approx(2 * 64 * 32 * 16)
