"""Every knob is one valid change, and says why where it does not apply."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from mfubench_model.gpt import CausalSelfAttention
from mfubench_model.presets import get_preset
from torch.nn import functional as F

from mfubench.analysis.effect import HELPS, HURTS, NO_DIFFERENCE, UNCLEAR, effect_of
from mfubench.hardware.affinity import performance_cpus, usable_cpus
from mfubench.hardware.devices import CpuDevice
from mfubench.knobs import bench
from mfubench.knobs import knob as knob_module
from mfubench.knobs.bench import KnobBench, machine_of
from mfubench.knobs.catalogue import KNOBS, KNOBS_BY_NAME
from mfubench.knobs.knob import Knob, library_file
from mfubench.measure.configured_loop import configured_model
from mfubench.measure.loop_config import ConfigError, LoopConfig
from mfubench.measure.train_step import make_autocast
from mfubench.pairs.loop_program import LoopProgram, failure
from mfubench.pairs.loop_side import LoopSide
from mfubench.pairs.side import SideError
from mfubench.pairs.timed_loop import TimedLoop
from tests.unit.hardware.fake_cuda import FakeCuda, cuda

BASE = LoopConfig(threads=1)
MACHINE = dataclasses.replace(machine_of(BASE), fast_cpus=(0,))


def test_names_are_unique_and_words_are_there() -> None:
    assert len(KNOBS_BY_NAME) == len(KNOBS)
    for knob in KNOBS:
        assert "," not in knob.name  # which separates names in --knobs
        assert all((knob.before, knob.after, knob.nanogpt, knob.pytorch))


@pytest.mark.parametrize("knob", KNOBS, ids=lambda knob: knob.name)
def test_each_changes_the_configuration_and_survives_the_way_to_a_side(knob: Knob) -> None:
    several = dataclasses.replace(BASE, threads=None)
    if knob.name.startswith("eager"):  # of what is compiled
        several = dataclasses.replace(several, compile="default", dtype="bfloat16")
    changed = several.changed(knob.change(several, MACHINE))
    assert changed != several
    assert LoopConfig.from_data(json.loads(json.dumps(changed.as_data()))) == changed


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("compile max-autotune", "GPUs"),
        ("tf32", "CPU has none"),
        ("performance cores", "one kind of core"),
    ],
)
def test_what_does_not_apply_says_why(name: str, words: str) -> None:
    machine = dataclasses.replace(MACHINE, device=CpuDevice(), fast_cpus=())
    reason = KNOBS_BY_NAME[name].inapplicable(machine)
    assert reason is not None
    assert words in reason


def test_a_padded_vocabulary_is_not_padded_again() -> None:
    padded = dataclasses.replace(MACHINE, vocab_size=50304)
    assert KNOBS_BY_NAME["vocab x64"].inapplicable(padded) is not None
    assert KNOBS_BY_NAME["vocab x64"].inapplicable(MACHINE) is None


@pytest.mark.parametrize(
    "changes",
    [{"compile": "sometimes"}, {"gelu": "relu"}, {"batch_size": 0}, {"loader": "workers-9"}],
)
def test_a_configuration_that_cannot_be_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        BASE.changed(changes)


def test_an_unknown_setting_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="unknown setting 'speed'"):
        LoopConfig.from_data({"speed": 2})


@pytest.mark.parametrize(
    ("speeds", "verdict"),
    [
        ([1.05, 1.06, 1.05, 1.07, 1.05, 1.06], HELPS),
        ([0.90, 0.91, 0.92, 0.90, 0.91, 0.92], HURTS),
        ([1.00, 1.004, 0.997, 1.002, 1.0, 0.999], NO_DIFFERENCE),
        ([1.10, 0.92, 1.08, 0.95, 1.12, 0.93], UNCLEAR),
        ([1.012, 1.011, 1.013, 1.012, 1.012, 1.011], NO_DIFFERENCE),
    ],
)
def test_verdicts(speeds: list[float], verdict: str) -> None:
    assert effect_of([1.0] * len(speeds), [1 / s for s in speeds]).verdict == verdict


def test_performance_cores_are_told_by_capacity_and_by_nothing_less(tmp_path: Path) -> None:
    for cpu, capacity in enumerate((1024, 1024, 460, 460)):
        folder = tmp_path / f"devices/system/cpu/cpu{cpu}"
        folder.mkdir(parents=True)
        (folder / "cpu_capacity").write_text(f"{capacity}\n", encoding="ascii")
    assert performance_cpus((0, 1, 2, 3), tmp_path) == (0, 1)
    assert performance_cpus((0, 1), tmp_path) == ()
    assert performance_cpus((0, 1, 7), tmp_path) == ()


def answers(*requests: dict[str, object]) -> list[dict[str, object]]:
    """What the program of a loop answers, in this process."""
    program = LoopProgram()
    found = []
    for request in requests:
        try:
            found.append(json.loads(json.dumps(program.answer(request))))
        except Exception as error:
            found.append({"error": failure(error)[1]})
    program.close()
    return found


def test_the_program_of_a_loop_answers_every_request_and_survives_a_bad_one(
    tmp_path: Path,
) -> None:
    start = {"corpus": None, "cache": str(tmp_path), "seed": 1}
    tiny = BASE.changed({"batch_size": 1}).as_data()
    early, bad, built, times, losses, evaluated, turn, unknown = answers(
        {"run": 1},
        {"config": {"speed": 2}, **start},
        {"config": tiny, **start},
        {"run": 2},
        {"losses": 2},
        {"evaluate": 1},
        {"turn": 2, "evaluation": True},
        {"dance": 1},
    )
    assert "no loop is built yet" in str(early["error"])
    assert "unknown setting" in str(bad["error"])
    assert built["tokens_per_step"] == 64
    assert len(times["times_s"]) == len(losses["losses"]) == 2  # type: ignore[arg-type]
    assert evaluated["loss"] > 0  # type: ignore[operator]
    assert set(turn) == {"step_s", "extra_s", "evaluation_s"}
    assert "unknown request" in str(unknown["error"])


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(usable_cpus()) < 2, reason="needs two processors"
)
def test_a_compiler_has_all_processors_where_the_thread_is_tied_to_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch._inductor.config as inductor

    monkeypatch.delenv("TORCHINDUCTOR_COMPILE_THREADS", raising=False)
    everything = usable_cpus()
    seen: list[object] = []

    def compiles() -> None:
        os.sched_setaffinity(0, everything[:1])  # of this thread alone
        loop: Any = lambda: seen.extend((usable_cpus(), inductor.compile_threads))  # noqa: E731
        TimedLoop(loop).compile(everything)
        seen.append(usable_cpus())

    monkeypatch.setattr(inductor, "compile_threads", 1)
    thread = threading.Thread(target=compiles)
    thread.start()
    thread.join()
    assert seen == [everything, len(everything), everything[:1]]


def test_garbage_is_collected_again_once_the_first_loop_is_built() -> None:
    def build(_: object) -> object:
        collects.append(gc.isenabled())
        if len(collects) == 1:
            raise ValueError("not this one")
        return SimpleNamespace(description=dict, close=lambda: collects.append(gc.isenabled()))

    collects: list[bool] = []
    program = LoopProgram(build)
    with pytest.raises(ValueError, match="not this one"):
        program.answer({"config": {}})
    for _ in range(2):
        program.answer({"config": {}})
    program.close()
    # Two first builds, one of them failed; the old loop is closed, and another one is built.
    assert collects == [False, False, True, True, True]


def test_the_same_seed_gives_the_same_losses_whatever_the_loader(tmp_path: Path) -> None:
    start = {"corpus": None, "cache": str(tmp_path), "seed": 3}
    small = BASE.changed({"batch_size": 2})
    runs = [
        answers({"config": config.as_data(), **start}, {"losses": 4})[1]["losses"]
        for config in (small, small.changed({"loader": "thread"}))
    ]
    assert runs[0] == runs[1]


def test_two_processes_take_turns_and_a_dead_baseline_is_replaced() -> None:
    bench = KnobBench(BASE.changed({"batch_size": 1}))
    try:
        with bench.start(bench.base.changed({"batch_size": 2})) as candidate:
            turns = bench.turns_of([bench.baseline()], [candidate])
            turns.take(3)
            data = turns.as_data()
            assert data["pairs"] == 3
            assert len(data["candidate_s_per_token"]) == 3
            first = bench.baseline()
            psutil.Process(first._process.pid).kill()
            assert bench.baseline() is not first
    finally:
        bench.close()


def test_a_loop_that_cannot_be_built_says_why(tmp_path: Path) -> None:
    with pytest.raises(SideError, match="There is no"):
        LoopSide(BASE, cache=tmp_path, corpus=tmp_path / "absent.txt").wait()


def test_the_bars_of_a_loop_hold_its_iteration_whatever_its_optimizer(tmp_path: Path) -> None:
    start = {"corpus": None, "cache": str(tmp_path), "seed": 1}
    small = BASE.changed({"batch_size": 2, "gradient_accumulation": 2})
    kinds = ("fused", "for-loop")
    for kind in kinds:
        config = small.changed({"optimizer": kind}).as_data()
        bars = answers({"config": config, **start}, {"bars": True})[1]["bars"]
        assert {"gemm", "attention", "optimizer", "data", "clip", "unexplained"} <= set(bars)
        assert min(bars[name] for name in ("gemm", "attention", "optimizer", "data", "clip")) > 0
        assert sum(bars.values()) > abs(bars["unexplained"])


@pytest.mark.parametrize("change", [{"weights": "bfloat16"}, {"dtype": "bfloat16"}])
def test_attention_in_float32_is_computed_in_it_and_returns_what_it_was_given(
    change: dict[str, str],
) -> None:
    config = BASE.changed({"attention": "float32", **change})
    model = configured_model(get_preset(config.preset), config)
    (attention, *_) = (m for m in model.modules() if isinstance(m, CausalSelfAttention))
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 4, 64, 32).to(torch.bfloat16) for _ in range(3))
    expected = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), is_causal=True)
    with make_autocast("cpu", config.dtype):
        y = attention.attend(q, k, v)
        in_bfloat16 = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, expected.to(torch.bfloat16))
    assert not torch.equal(y, in_bfloat16)


def test_compiled_code_on_a_cpu_has_no_bars(tmp_path: Path) -> None:
    start = {"corpus": None, "cache": str(tmp_path), "seed": 1}
    compiled = BASE.changed({"compile": "default", "batch_size": 1})
    (_, answer) = answers({"config": compiled.as_data(), **start}, {"bars": True})
    assert "no bars" in str(answer["error"])


def test_a_change_says_which_bar_it_took_time_from() -> None:
    bench = KnobBench(BASE.changed({"batch_size": 2, "optimizer": "for-loop"}))
    try:
        with bench.turns_with(bench.base.changed({"optimizer": "fused"})) as turns:
            turns.take(6)
            turns.profile()
            data = turns.as_data()
    finally:
        bench.close()
    bars = {bar["name"]: bar for bar in data["bars"]}
    assert min(bars["optimizer"][key] for key in ("before_s", "after_s")) > 0
    assert {"evaluation", "checkpoint"} <= set(bars)
    # Shares of profiles, the seconds of the turns: they add up whatever the machine did.
    before_s, after_s = (sum(bar[key] for bar in bars.values()) for key in ("before_s", "after_s"))
    assert after_s == pytest.approx(before_s / data["ratio"])


@pytest.mark.parametrize(("capability", "dtype"), [((8, 0), "bfloat16"), ((7, 5), "float16")])
def test_the_baseline_on_cuda_is_what_nanogpt_runs_there(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: str
) -> None:
    gpu = cuda(FakeCuda("GPU", capability))
    monkeypatch.setattr(bench, "parse_device", lambda name: gpu)
    base = bench.nanogpt_baseline("gpt2", "cuda", threads=None)
    assert (base.dtype, base.compile, base.batch_size) == (dtype, "default", 12)
    had_already = {knob.name for knob in KNOBS if base.changed(knob.change(base, MACHINE)) == base}
    assert "compile" in had_already
    assert ("bf16 autocast" in had_already) is (dtype == "bfloat16")
    assert "eager in strict float32" not in had_already


def test_the_baseline_elsewhere_is_float32_eager() -> None:
    base = bench.nanogpt_baseline("nanogpt-cpu", "cpu", threads=2)
    assert (base.dtype, base.compile, base.threads) == ("float32", "no", 2)


@pytest.mark.parametrize(
    ("has", "file"),
    [
        ({"tcmalloc_minimal": "libtcmalloc_minimal.so.4"}, "libtcmalloc_minimal.so.4"),
        ({"tcmalloc": "libtcmalloc.so.4"}, "libtcmalloc.so.4"),
        ({}, None),
    ],
)
def test_an_allocator_is_found_by_the_name_that_its_package_gives_it(
    monkeypatch: pytest.MonkeyPatch, has: dict[str, str], file: str | None
) -> None:
    monkeypatch.setattr(knob_module, "find_library", has.get)
    assert library_file("tcmalloc") == file
    reason = KNOBS_BY_NAME["tcmalloc"].inapplicable(machine_of(BASE))
    assert (reason is None) == (file is not None)
