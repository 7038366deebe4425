"""A machine is probed: its operators, its ceilings, and the anchor steps of a mode."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
import torch

from mfubench.analysis.paired import paired_ratio
from mfubench.hardware import ceilings
from mfubench.hardware.devices import Device
from mfubench.measure.precision import matmul_precision
from mfubench.measure.train_step import use_once
from mfubench.pairs.pairing import there_and_back
from mfubench.predict.document import MeasuredStep, Mode, OperatorTime, Probe, Setting
from mfubench.predict.machine import BUSY_RATIO
from mfubench.predict.rates import Rates
from mfubench.predict.steps import measure_step, workload_of
from mfubench.predict.turns import StepTurns, TakesTurns, apart, operators_in_turns, sweep
from mfubench.results.outcomes import Dtype
from mfubench.suite.session import device_key, timed_rounds
from mfubench.timing import now_s, time_s

Say = Callable[[str], None]
SWEEPS = 6
MOST_TRIES = 3
MOST_S = 60.0
"""After so many seconds a busy machine is not probed again: what there is must do."""
CEILING_S = 1.0
ANCHOR_S = 1.5
COMPILED_ROUNDS = 8

SIZES = ("n_layer", "n_head", "n_embd", "block_size", "vocab_size", "batch_size")
ANCHORS_CPU = ((2, 2, 64, 32, 65, 2), (4, 4, 128, 64, 65, 12), (3, 6, 384, 256, 2048, 3))
ANCHORS_GPU = ((4, 4, 128, 64, 65, 12), (6, 6, 384, 256, 2048, 64), (12, 12, 768, 1024, 50304, 8))
"""Small, middle and large: a step of launches, of both, and of work."""


def anchors_of(device: Device, dtype: Dtype, compile: bool) -> list[Setting]:
    """The three settings that a mode is fitted to."""
    sizes = ANCHORS_CPU if device.kind == "cpu" else ANCHORS_GPU
    return [
        msgspec.convert(
            {
                "preset": None,
                "device": device_key(device),
                "dtype": dtype,
                "compile": compile,
                **dict(zip(SIZES, values, strict=True)),
            },
            Setting,
        )
        for values in sizes
    ]


def probed(
    device: Device,
    modes: Iterable[Mode],
    *,
    known: Probe | None = None,
    say: Say = lambda _: None,
) -> Probe:
    """A probe that has all these modes (a dtype, compiled or not): what `known` lacks is measured.

    Raises torch's own error for what the device cannot do.
    """
    start_s = now_s()
    use_once(device)
    wanted = list(dict.fromkeys(modes))
    have = Rates(known.operators).dtypes if known else []
    lacking = [d for d in dict.fromkeys(dtype for dtype, _ in wanted) if d not in have]
    if known is None:
        first: list[Dtype] = ["float32"]
        lacking = list(dict.fromkeys([*first, *lacking]))
    operators = list(known.operators) if known else []
    steps: list[MeasuredStep] = []
    unsteady, tries = (known.unsteady_ratio, known.attempts) if known else (0.0, 1)
    for dtype in lacking:
        anchors = anchors_of(device, dtype, False) if (dtype, False) in wanted else []
        found, stepped, between, took = _in_turns(device, dtype, anchors, say)
        operators += found
        steps += stepped
        unsteady, tries = max(unsteady, between), max(tries, took)
    probe = known or _limits(device, say)
    probe.anchors = [*probe.anchors, *steps]
    probe.gemm_flops_per_s |= {
        d: _gemm_rate(device, d, say) for d in lacking if d not in probe.gemm_flops_per_s
    }
    probe.operators, probe.unsteady_ratio, probe.attempts = operators, unsteady, tries
    done = {(a.setting.dtype, a.setting.compile) for a in probe.anchors}
    for dtype, compile in wanted:
        if (dtype, compile) not in done:
            how = "compiled" if compile else "eager"
            say(f"three anchor steps, {dtype}, {how}")
            probe.anchors = [
                *probe.anchors,
                *(
                    _anchor(setting, probe.anchors, device)
                    for setting in anchors_of(device, dtype, compile)
                ),
            ]
    probe.spent_s = round((known.spent_s if known else 0.0) + now_s() - start_s, 3)
    probe.measured_at_s = time.time()
    return probe


def _in_turns(
    device: Device, dtype: Dtype, anchors: Sequence[Setting], say: Say
) -> tuple[list[OperatorTime], list[MeasuredStep], float, int]:
    """Operators and anchor steps, in sweeps. A busy machine is probed again; all sweeps count."""
    start_s = now_s()
    with matmul_precision(dtype):
        operators = list(operators_in_turns(device, dtype, with_optimizer=dtype == "float32"))
        steps = [StepTurns(setting, device) for setting in anchors]
        for tries in range(1, MOST_TRIES + 1):
            words = f"operators in {dtype}" + (" and anchor steps" if steps else "")
            say(words + (f", try {tries}" if tries > 1 else ""))
            everything: list[TakesTurns] = [*operators, *steps]
            for number in range(SWEEPS):
                sweep(everything, number)
            between = apart(operators, SWEEPS)
            if between <= BUSY_RATIO:
                break
            if tries == MOST_TRIES or now_s() - start_s > MOST_S:
                say(f"the machine stayed busy: sweeps lie {between * 100:.0f} % apart")
                break
            words = f"the machine was busy: sweeps lie {between * 100:.0f} % apart"
            say(f"{words}. It is probed again")
    return [one.time for one in operators], [one.step for one in steps], between, tries


def _gemm_rate(device: Device, dtype: Dtype, say: Say) -> float:
    say(f"the ceiling of matrix products in {dtype}")
    with matmul_precision(dtype):
        kernel, _ = ceilings.best_gemm(device, dtype, budget_s=CEILING_S)
        return ceilings.sustained(timed_rounds(kernel.run, CEILING_S), kernel.work).rate_per_s


def _limits(device: Device, say: Say) -> Probe:
    """A probe without operators: who the device is, and its ceilings."""
    say("bandwidth, dispatch, data and a checkpoint")
    rates = [
        ceilings.sustained(timed_rounds(kernel.run, CEILING_S / 2), kernel.work).rate_per_s
        for kernel in (ceilings.triad_kernel(device), ceilings.dispatch_kernel(device))
    ]
    usable = [d for d in ceilings.TORCH_DTYPES if device.unsupported_reason(d) is None]
    peaks = {dtype: device.peak(dtype) for dtype in usable}
    return Probe(
        device=device_key(device),
        device_name=device.name,
        threads=torch.get_num_threads(),
        torch_version=str(torch.__version__),
        measured_at_s=time.time(),
        spent_s=0.0,
        unsteady_ratio=0.0,
        attempts=1,
        operators=[],
        anchors=[],
        native_dtypes=msgspec.convert(list(device.native_dtypes()), list[Dtype]),
        peak_flops_per_s={dtype: peak for dtype, (peak, _) in peaks.items()},
        peak_source=next((source for peak, source in peaks.values() if peak), None),
        gemm_flops_per_s={},
        bandwidth_bytes_per_s=rates[0],
        dispatch_s=1 / rates[1],
        total_memory_bytes=device.total_memory_bytes(),
        loop_s=_loop(device),
    )


def _anchor(setting: Setting, known: Sequence[MeasuredStep], device: Device) -> MeasuredStep:
    """An anchor step by itself. Compiled, it takes turns with the same step without
    `torch.compile`, and has the known time of that one by the ratio of the two: so it meets the
    machine that the operators met."""
    if setting.compile:
        eager = msgspec.structs.replace(setting, compile=False)
        for plain in known:
            if plain.setting.name == eager.name:
                pair = StepTurns(eager, device), StepTurns(setting, device)
                for turns in there_and_back(pair, COMPILED_ROUNDS):
                    for one in turns:
                        one.round()
                found = paired_ratio(pair[1].rounds_s, pair[0].rounds_s)
                return MeasuredStep(
                    setting=setting, step_s=plain.step_s * found.ratio, peak_memory_bytes=None
                )
    return measure_step(setting, device, budget_s=ANCHOR_S)


def _loop(device: Device) -> dict[str, float]:
    """Drawing a sequence, and how fast a checkpoint is written."""
    workload = workload_of(anchors_of(device, "float32", False)[1])
    at = device.torch_device
    data_s = statistics.median(
        time_s(lambda: workload.sample_batch("train", at)) for _ in range(20)
    )
    state = torch.ones(2**22)
    with tempfile.TemporaryDirectory(prefix="mfubench-") as folder:
        path = Path(folder) / "ckpt.pt"
        saved_s = min(time_s(lambda: torch.save(state, path)) for _ in range(2))
    return {
        "data": data_s / workload.batch_size,
        "checkpoint_bytes_per_s": state.nbytes / saved_s,
    }
