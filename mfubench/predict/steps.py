"""Training steps of any sizes, run and timed: the anchors, and what a self-test holds out."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from mfubench_model.corpus import Corpus, TokenArray
from mfubench_model.presets import PRESETS, Preset

from mfubench.analysis import components
from mfubench.analysis.rates import refuse_loss
from mfubench.hardware.devices import Device
from mfubench.measure.gpt_workload import GPTWorkload
from mfubench.measure.precision import matmul_precision
from mfubench.measure.train_step import Phase, TrainStep
from mfubench.measure.windows import Window, steps_per_window
from mfubench.predict.document import MeasuredStep, Setting
from mfubench.timing import now_s


class AccumulatingStep(TrainStep):
    """Several batches per optimizer step, the loss divided by their number, as nanoGPT does."""

    batches = 1

    def iterate(self, phase: Phase) -> None:
        """One optimizer step."""
        for left in reversed(range(self.batches)):
            with phase(components.FORWARD):
                loss = self.forward(self.next_batch()) / self.batches
            if left:
                with phase(components.BACKWARD):
                    self.backward(loss)
        self.update(loss, phase)


WARM_STEPS = 3
LEAST_ROUNDS, MOST_ROUNDS = 5, 100
CONTROL_SIZE, CONTROL_ROUNDS = 384, 5


def workload_of(setting: Setting) -> GPTWorkload:
    """The model and the batch of a setting, on random tokens: no time of a step depends on them."""
    base = PRESETS.get(setting.preset or "", PRESETS["nanogpt-cpu"])
    preset: Preset = replace(
        base,
        name=setting.preset or setting.name,
        config=setting.config,
        batch_size=setting.batch_size,
    )
    count = max(4096, 2 * setting.block_size + 2)
    tokens = np.random.default_rng(0).integers(
        min(setting.vocab_size, 2**16), size=count, dtype=np.uint16
    )
    several = cast(TokenArray, tokens)  # a file of them is mapped elsewhere
    corpus = Corpus("random", several, several, setting.vocab_size, "")
    return GPTWorkload(preset, setting.batch_size, corpus)


class WarmStep:
    """A setting's training step, built and warm: rounds of it can be taken at any time. A GPU's
    rounds are windows of several steps, as in the suite. Raises torch's own errors."""

    def __init__(self, setting: Setting, device: Device) -> None:
        self._setting = setting
        if setting.compile:
            torch._dynamo.reset()
        gc.collect()
        device.reset_peak_memory()
        with matmul_precision(setting.dtype):
            self._step = AccumulatingStep(
                workload_of(setting), device, dtype=setting.dtype, compile=setting.compile
            )
            self._step.batches = setting.gradient_accumulation_steps
            for _ in range(WARM_STEPS):
                self._step()
            if setting.compile:
                device.restart_peak_memory()
            once_s = _timed(self._step)
        self._calls = steps_per_window(device, once_s)
        self._round_s = max(self._calls * once_s, 1e-9)
        self._run = Window(self._step, self._calls)

    def rounds_s(self, budget_s: float, least: int = 1) -> list[float]:
        """Seconds of a step in each of as many rounds as the budget holds. Raises ValueError where
        the loss is no number."""
        rounds = max(least, min(MOST_ROUNDS, int(budget_s / self._round_s)))
        with matmul_precision(self._setting.dtype):
            found = [_timed(lambda: _several(self._run, self._calls)) for _ in range(rounds)]
            problem = refuse_loss(float(self._step.last_loss))
        if problem is not None:
            raise ValueError(problem)
        return [seconds / self._calls for seconds in found]


def measure_step(setting: Setting, device: Device, *, budget_s: float = 2.0) -> MeasuredStep:
    """The median round of a setting's step, and its peak memory.

    Raises torch's own errors, and ValueError where the loss is no number.
    """
    rounds_s = WarmStep(setting, device).rounds_s(budget_s, LEAST_ROUNDS)
    peak = device.peak_memory_bytes()
    return MeasuredStep(
        setting=setting, step_s=statistics.median(rounds_s), peak_memory_bytes=peak or None
    )


def _several(run: Callable[[], None], times: int) -> None:
    for _ in range(times):
        run()


def _timed(run: Callable[[], object]) -> float:
    start_s = now_s()
    run()
    return now_s() - start_s


def control_s(device: Device) -> float:
    """Seconds of a product and a sum that are always the same: what they take says how busy the
    machine is. The median of a few."""
    at = device.torch_device
    a, x = torch.ones(CONTROL_SIZE, CONTROL_SIZE, device=at), torch.ones(2**20, device=at)

    def run() -> None:
        torch.mm(a, a)
        torch.add(x, x)
        device.synchronise()

    run()
    return statistics.median(_timed(run) for _ in range(CONTROL_ROUNDS))
