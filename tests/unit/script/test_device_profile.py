"""A script's account on a GPU: made of its trace, and closed to a plain step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mfubench.results.record import CaseRecord
from mfubench.script import phases, run
from mfubench.script.account import account_of, fill_breakdown
from mfubench.script.device_profile import DeviceProfile
from mfubench.script.live_trace import TRACED_STEPS
from mfubench.script.run import TrainingRun
from mfubench.trace.build import trace_account
from mfubench.trace.document import Step
from mfubench.trace.read import TraceError
from tests.trace_builder import TraceBuilder


def profiled(tmp_path: Path) -> Step:
    """A step of 100 us: a product of 20, attention of 10, a copy of 5 while the product ran, and a
    wait of 15 for data."""
    trace = TraceBuilder()
    trace.step(1, 0, 100)
    types = ["c10::BFloat16", "c10::BFloat16"]
    trace.op("aten::mm", 0, 5, Input_Dims=[[64, 32], [32, 16]], Input_type=types)
    trace.launch("sm90_gemm_bf16", (1, 2), (2, 22))
    trace.launch("Memcpy HtoD", (3, 4), (10, 15), stream=8, category="gpu_memcpy")
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
    trace.range("enumerate(DataLoader)#_SingleProcess.__next__", 35, 50)
    (step,) = trace_account([trace.write(tmp_path / "trace.json")]).steps
    return step


def test_kernels_keep_their_times_and_idle_time_is_the_plain_steps(tmp_path: Path) -> None:
    step = profiled(tmp_path)
    account = account_of(step, {}, step_s=60e-6, ceiling_flops_per_s=1e12)
    assert account.bar("GEMMs and convolutions").seconds == pytest.approx(20e-6)
    assert account.bar("attention kernels").seconds == pytest.approx(10e-6)
    idle_s = sum(bar.seconds for bar in account.bars if bar.name.startswith("idle"))
    assert idle_s == pytest.approx(30e-6)
    waited_s = account.bar("idle: host waited for data").seconds
    assert waited_s == pytest.approx(30e-6 * 15 / 70)
    assert sum(bar.seconds for bar in account.bars) == pytest.approx(60e-6)
    assert account.unexplained_ratio == pytest.approx(0, abs=1e-9)


def test_pauses_are_bars_beside_the_plain_step(tmp_path: Path) -> None:
    account = account_of(
        profiled(tmp_path), {"evaluation": 40e-6}, step_s=100e-6, ceiling_flops_per_s=None
    )
    assert account.bar("evaluation").seconds == 40e-6
    assert account.groups["evaluation and checkpoint"] == 40e-6
    idle_s = sum(bar.seconds for bar in account.bars if bar.name.startswith("idle"))
    assert idle_s == pytest.approx(30e-6)


def test_kernels_that_take_longer_than_the_plain_step_show_as_unexplained(tmp_path: Path) -> None:
    account = account_of(profiled(tmp_path), {}, step_s=20e-6, ceiling_flops_per_s=None)
    assert account.bar("unexplained").seconds == pytest.approx(-10e-6)


def test_floors_are_the_flops_at_the_ceiling(tmp_path: Path) -> None:
    account = account_of(profiled(tmp_path), {}, step_s=60e-6, ceiling_flops_per_s=1e12)
    assert account.bar("GEMMs and convolutions").floor_s == pytest.approx(2 * 64 * 32 * 16 / 1e12)
    attention = 2 * 2 * 4 * (64 * 65 // 2) * 32 * 2
    assert account.bar("attention kernels").floor_s == pytest.approx(attention / 1e12)


def test_a_profile_without_device_events_is_refused_in_a_sentence() -> None:
    """On a CPU the profiler gives a trace, and no kernels in it."""
    profile = DeviceProfile(torch.device("cpu"))
    rows = 0
    while not profile.step_ended(rows):
        torch.ones(8, 8) @ torch.ones(8, 8)
        rows += 1
    assert not profile.is_running
    with pytest.raises(TraceError, match="no device events"):
        profile.typical_step()
    profile.close()


def test_a_profile_that_the_scripts_end_cut_off_says_so() -> None:
    profile = DeviceProfile(torch.device("cpu"))
    assert not profile.step_ended(0)
    profile.interrupt()
    with pytest.raises(TraceError, match="the script ended before"):
        profile.typical_step()
    profile.close()


def test_a_script_on_a_gpu_is_profiled_and_its_steps_are_not_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The profiler runs on this CPU, in place of a GPU: it finds no kernels, which is said; the
    profiled steps and the one after them are not among the measured ones."""
    monkeypatch.setattr(run, "COUNT_FROM", (1, 2))
    monkeypatch.setattr(
        phases, "clock_for", lambda recorder, trace: DeviceProfile(recorder.device, trace)
    )
    watched = TrainingRun(breakdown=True)
    watched.start()
    try:
        model = torch.nn.Linear(8, 8)
        optimizer = torch.optim.SGD(model.parameters())
        for _ in range(30):
            model(torch.ones(4, 8)).sum().backward()
            optimizer.step()
    finally:
        found = watched.stop()
    assert isinstance(found.clock, DeviceProfile)
    assert len(found.clock.rows) == 2 + TRACED_STEPS
    counted = {count.first_row for count in found.counts}
    assert len(found.rounds_s) + len(found.warmup_s) <= 29 - len(found.clock.rows) - len(counted)
    record = CaseRecord(
        case_id="script/x/cpu", question="script", device="cpu", step_s=1.0, steps_seen=30
    )
    fill_breakdown(record, found, None)
    assert "no device events" in str(record.breakdown_problem)
    found.clock.close()
