"""Knobs measured in pairs against a baseline that stays resident in a process of its own."""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mfubench.analysis.knobs import Effect, break_even_iters, effect_of, net_ratio
from mfubench.hardware.cpu import usable_cores
from mfubench.hardware.cpu_kinds import performance_cpus
from mfubench.hardware.devices import parse_device
from mfubench.measure.loop_config import LoopConfig
from mfubench.measure.train_step import SEED
from mfubench.measure.worker_process import SETTLE_S, Worker, WorkerError
from mfubench.suite.knob import Knob, Machine, usable_cpus
from model.presets import get_preset

WARM_STEPS = 12
PAIRS = 24
TURN_S = 0.12
"""A turn lasts about this long, at least one step: fine turns let the machine's drift cancel."""
LONG_START_S = 60.0
HORIZON_ITERS = 2000
"""Iterations over which compilation is charged."""


@dataclass
class Turns:
    """Two workers that take turns, and what each turn took."""

    base: Worker
    candidate: Worker
    base_steps: int
    candidate_steps: int
    start_up_s: float
    base_s_per_token: list[float] = field(default_factory=list)
    candidate_s_per_token: list[float] = field(default_factory=list)

    def base_turn(self) -> None:
        self.base_s_per_token.append(_s_per_token(self.base, self.base_steps))
        time.sleep(SETTLE_S)

    def candidate_turn(self) -> None:
        self.candidate_s_per_token.append(_s_per_token(self.candidate, self.candidate_steps))
        time.sleep(SETTLE_S)

    def take(self, pairs: int) -> None:
        """A turn of each side, `pairs` times."""
        for _ in range(pairs):
            self.base_turn()
            self.candidate_turn()

    def effect(self) -> Effect:
        """Each candidate turn against the mean of the baseline's turns around it."""
        base = self.base_s_per_token
        around = [
            (base[i] + base[min(i + 1, len(base) - 1)]) / 2
            for i in range(len(self.candidate_s_per_token))
        ]
        return effect_of(around, self.candidate_s_per_token)

    def charged(self) -> dict[str, Any]:
        """Compilation over `HORIZON_ITERS` iterations of the candidate."""
        tokens = self.candidate.tokens_per_step
        base_s = tokens * statistics.median_high(self.base_s_per_token)
        candidate_s = tokens * statistics.median_high(self.candidate_s_per_token)
        return {
            "start_up_s": self.start_up_s,
            "break_even_iters": break_even_iters(self.start_up_s, base_s, candidate_s),
            "net_ratio": net_ratio(self.start_up_s, base_s, candidate_s, HORIZON_ITERS),
            "horizon_iters": HORIZON_ITERS,
        }

    def as_data(self) -> dict[str, Any]:
        """The effect and the pairs, in JSON types."""
        data = asdict(self.effect())
        data["base_s_per_token"] = self.base_s_per_token
        data["candidate_s_per_token"] = self.candidate_s_per_token
        if self.candidate.config.compile != "no":
            data |= self.charged()
        return data


class KnobBench:
    """The baseline of a preset on a device."""

    def __init__(self, base: LoopConfig, *, corpus: Path | None = None) -> None:
        self.base = base
        self.machine = machine_of(base)
        self._corpus = corpus
        self._cache = tempfile.TemporaryDirectory(prefix="mfubench-knobs-")
        self._worker: Worker | None = None
        self.base_step_s = float("nan")
        """Seconds of a warm step of the baseline, once it has started."""

    def start(self, config: LoopConfig, *, seed: int = SEED) -> Worker:
        """A worker of a configuration. Raises WorkerError when it cannot be built."""
        return Worker(config, cache=Path(self._cache.name), corpus=self._corpus, seed=seed)

    def baseline(self) -> Worker:
        """The resident baseline, started anew if it has died."""
        if self._worker is not None:
            try:
                self._worker.run(1)
            except WorkerError:
                self._worker.close()
                self._worker = None
        if self._worker is None:
            self._worker = self.start(self.base)
            _, self.base_step_s = warm(self._worker)
        return self._worker

    def config_of(self, knob: Knob) -> LoopConfig:
        """The baseline with the knob turned."""
        return self.base.changed(knob.change(self.base, self.machine))

    def turns_of(self, base: Worker, candidate: Worker) -> Turns:
        """Two workers ready to take turns; the candidate is warmed, the base has been before."""
        start_up_s, step_s = warm(candidate)
        base_step_s = statistics.median_high(base.run(3))
        return Turns(
            base=base,
            candidate=candidate,
            base_steps=steps_per_turn(base_step_s),
            candidate_steps=steps_per_turn(step_s),
            start_up_s=start_up_s,
        )

    def close(self) -> None:
        """End the baseline's process."""
        if self._worker is not None:
            self._worker.close()
        self._cache.cleanup()


def machine_of(base: LoopConfig) -> Machine:
    """What knobs may ask about."""
    cpus = usable_cpus()
    return Machine(
        device=parse_device(base.device),
        cores=usable_cores(),
        cpus=cpus,
        fast_cpus=performance_cpus(cpus),
        vocab_size=get_preset(base.preset).config.vocab_size,
    )


def warm(worker: Worker) -> tuple[float, float]:
    """Seconds by which the first two steps exceed steady ones, and those of a steady step."""
    times_s = worker.run(1)
    times_s += worker.run(WARM_STEPS if times_s[0] < LONG_START_S else 3)
    steady_s = statistics.median_high(times_s[-5:])
    worker.save()
    worker.turn(1)  # the first evaluation may compile again
    return max(0.0, sum(t - steady_s for t in times_s[:2])), steady_s


def steps_per_turn(step_s: float) -> int:
    """How many steps make a turn.

    >>> steps_per_turn(0.040), steps_per_turn(3.0)
    (3, 1)
    """
    return max(1, round(TURN_S / max(step_s, 1e-6)))


def _s_per_token(worker: Worker, steps: int) -> float:
    return worker.turn(steps) / worker.tokens_per_step
