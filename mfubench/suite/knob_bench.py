"""Knobs measured in turns against a baseline that stays resident in processes of its own.

Most knobs are measured with steadied allocators on both sides, so that a pair of processes says
what the knob does. What an allocator does differs from process to process: such a knob is measured
against several processes of the plain loop.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mfubench.analysis.bar_changes import BarChange, bar_changes, typical
from mfubench.analysis.knobs import (
    Effect,
    break_even_iters,
    effect_of,
    effect_over_processes,
    net_ratio,
)
from mfubench.hardware.cpu import usable_cores
from mfubench.hardware.cpu_kinds import performance_cpus
from mfubench.hardware.devices import parse_device
from mfubench.measure.loop_config import LoopConfig
from mfubench.measure.train_step import SEED
from mfubench.measure.worker_process import SETTLE_S, START_TIMEOUT_S, Worker, WorkerError
from mfubench.suite.knob import Knob, Machine, usable_cpus
from model.presets import get_preset

WARM_STEPS = 12
PAIRS = 24
PROCESSES = 4
"""Processes of the plain loop that an allocator is compared with."""
TURN_S = 0.12
"""A turn lasts about this long, at least one step: fine turns let the machine's drift cancel."""
PROFILED_BLOCKS = 3
LONGEST_PROFILED_S = 1.0
"""Of an iteration: a profile takes about fifty, and one that would take minutes is not taken."""
LONG_START_S = 60.0
HORIZON_ITERS = 2000
"""Iterations over which compilation is charged."""


@dataclass
class Side:
    """A worker that takes turns, and the seconds per token of each turn."""

    worker: Worker
    steps: int
    s_per_token: list[float] = field(default_factory=list)

    def turn(self) -> None:
        self.s_per_token.append(self.worker.turn(self.steps) / self.worker.tokens_per_step)
        time.sleep(SETTLE_S)


@dataclass
class Turns:
    """Baselines and a candidate that take turns."""

    bases: list[Side]
    candidate: Side
    start_up_s: float
    """What the candidate's first steps took beyond steady ones."""
    warm_start_up_s: float | None = None
    """The same in another process that finds the compiled code of the first."""
    bars: list[BarChange] | None = None
    """Where the time went or came from; None until `profile`, and where nothing says so."""

    def base_turn(self) -> None:
        for base in self.bases:
            base.turn()

    def take(self, pairs: int) -> None:
        """A turn of every side, `pairs` times."""
        for _ in range(pairs):
            self.base_turn()
            self.candidate.turn()

    def effect(self) -> Effect:
        """Over turns with one baseline, over processes with several."""
        turns = [(around(base.s_per_token), self.candidate.s_per_token) for base in self.bases]
        return effect_of(*turns[0]) if len(turns) == 1 else effect_over_processes(turns)

    @property
    def base_iteration_s(self) -> float:
        """Seconds of an iteration of the (first) baseline."""
        tokens = self.bases[0].worker.tokens_per_step
        return tokens * statistics.median(self.bases[0].s_per_token)

    def profile(self) -> None:
        """Learn which bars the change moved. No process may have ended."""
        self.bars = bars_moved(
            self.bases[0].worker,
            self.candidate.worker,
            before_s=self.base_iteration_s,
            ratio=self.effect().ratio,
        )

    def charged(self) -> dict[str, Any]:
        """Compilation over `HORIZON_ITERS` iterations of the candidate."""
        tokens = self.candidate.worker.tokens_per_step
        base_s = tokens * statistics.median_high(self.bases[0].s_per_token)
        candidate_s = tokens * statistics.median_high(self.candidate.s_per_token)
        return {
            "start_up_s": self.start_up_s,
            "warm_start_up_s": self.warm_start_up_s,
            "break_even_iters": break_even_iters(self.start_up_s, base_s, candidate_s),
            "net_ratio": net_ratio(self.start_up_s, base_s, candidate_s, HORIZON_ITERS),
            "horizon_iters": HORIZON_ITERS,
        }

    def as_data(self) -> dict[str, Any]:
        """The effect and the pairs, in JSON types."""
        data = asdict(self.effect())
        data["base_s_per_token"] = [base.s_per_token for base in self.bases]
        data["candidate_s_per_token"] = self.candidate.s_per_token
        data["bars"] = None if self.bars is None else [asdict(bar) for bar in self.bars]
        if self.candidate.worker.config.compile != "no":
            data |= self.charged()
        return data


def around(base: Sequence[float]) -> list[float]:
    """For each turn of a candidate the mean of the baseline's turns before and after it.

    >>> around([1.0, 2.0, 4.0])
    [1.5, 3.0, 4.0]
    """
    return [(a + b) / 2 for a, b in zip(base, [*base[1:], base[-1]], strict=True)]


def bars_moved(
    base: Worker, candidate: Worker, *, before_s: float, ratio: float
) -> list[BarChange] | None:
    """The bars of two loops from profiles that take turns, for iterations of the same tokens: the
    base's lasts `before_s`, the candidate is `ratio` times as fast. None where there is no profile
    (compiled code on a CPU) and where one would take minutes."""
    if before_s > LONGEST_PROFILED_S:
        return None
    try:
        # The candidate first: what cannot be profiled says so before anything is.
        pairs = [(candidate.bars(), base.bars()) for _ in range(PROFILED_BLOCKS)]
        after, before = ([pair[side] for pair in pairs] for side in (0, 1))
        return bar_changes(
            typical(before), typical(after), before_s=before_s, after_s=before_s / ratio
        )
    except (WorkerError, ValueError):
        return None


class KnobBench:
    """The baseline of a preset on a device: nanoGPT's own loop."""

    def __init__(self, base: LoopConfig, *, corpus: Path | None = None) -> None:
        self.base = base
        self.machine = machine_of(base)
        self._corpus = corpus
        self._cache = tempfile.TemporaryDirectory(prefix="mfubench-knobs-")
        self._resident: dict[str, list[Worker]] = {}

    def launch(self, config: LoopConfig, *, seed: int = SEED) -> Worker:
        """A worker that builds its loop while the parent goes on; `Worker.wait` before its use."""
        return Worker(config, cache=Path(self._cache.name), corpus=self._corpus, seed=seed)

    def start(self, config: LoopConfig, *, seed: int = SEED) -> Worker:
        """A worker of a configuration, built. Raises WorkerError when it cannot be."""
        return self.launch(config, seed=seed).wait()

    def start_several(self, config: LoopConfig, count: int) -> list[Worker]:
        """The same several times: they load their libraries together. Raises WorkerError."""
        workers = [self.launch(config) for _ in range(count)]
        try:
            return [worker.wait() for worker in workers]
        except BaseException:
            for worker in workers:
                worker.close()
            raise

    def baseline(self) -> Worker:
        """The resident steadied baseline, started anew if it has died."""
        return self._alive("steadied", self.base.steadied, 1)[0]

    def plain_baseline(self) -> Worker:
        """One resident process of the loop as it is."""
        return self._alive("plain", self.base, 1)[0]

    def plain_baselines(self, *, start: bool = True) -> list[Worker]:
        """Several resident processes of the loop as it is, those that run if none may be started;
        one where nothing is steadied."""
        name, count = ("plain", PROCESSES) if self.base != self.base.steadied else ("steadied", 1)
        return self._alive(name, self.base, count) if start else self._resident.get(name, [])

    def _alive(
        self, name: str, config: LoopConfig, count: int, *, beside: Sequence[Worker] = ()
    ) -> list[Worker]:
        workers = self._resident.setdefault(name, [])
        for worker in list(workers):
            try:
                worker.run(1)
            except WorkerError:
                worker.close()
                workers.remove(worker)
        new = self.start_several(config, count - len(workers))
        workers += new
        for worker in beside if new else ():
            worker.has_answered(START_TIMEOUT_S)  # warming is timed: nothing may build beside it
        for worker in new:
            warm(worker)
        return workers

    def _comparison(self, config: LoopConfig) -> tuple[str, LoopConfig, int]:
        """What a change is compared with: a name, a configuration and a number of processes.

        Where the change chooses the allocator, that is several processes of the loop as it is.
        """
        if config.chooses_allocator and self.base != self.base.steadied:
            return "plain", self.base, PROCESSES
        return "steadied", self.base.steadied, 1

    def processes_to_start(self, config: LoopConfig) -> int:
        """How many processes `turns_with` would start for a configuration now."""
        name, _, count = self._comparison(config)
        return 1 + max(0, count - len(self._resident.get(name, ())))

    def config_of(self, knob: Knob, config: LoopConfig | None = None) -> LoopConfig:
        """A configuration (the baseline, if none is given) with the knob turned."""
        config = config or self.base
        return config.changed(knob.change(config, self.machine))

    @contextlib.contextmanager
    def turns_with(self, config: LoopConfig, *, beside: Sequence[Worker] = ()) -> Iterator[Turns]:
        """Turns of a change of the baseline against the processes it is compared with; its own
        process ends with the context. Processes `beside` may still build: they are waited for.
        Raises WorkerError."""
        with self.launch(config.steadied) as candidate:
            everyone = [*beside, candidate]
            bases = self.bases_for(config, beside=everyone)
            for worker in everyone:
                worker.has_answered(START_TIMEOUT_S)
            yield self.turns_of(bases, candidate.wait())

    def bases_for(self, config: LoopConfig, *, beside: Sequence[Worker] = ()) -> list[Worker]:
        """The resident processes that a change of the baseline is compared with."""
        name, base, count = self._comparison(config)
        return self._alive(name, base, count, beside=beside)

    def turns_of(self, bases: Sequence[Worker], candidate: Worker) -> Turns:
        """Workers ready to take turns; the candidate is warmed, the bases have been before."""
        start_up_s, step_s = warm(candidate)
        return Turns(
            bases=[ready(base) for base in bases],
            candidate=Side(candidate, steps_per_turn(step_s)),
            start_up_s=start_up_s,
        )

    def base_step_s(self) -> float:
        """Seconds of a warm step of the baseline."""
        return steady_step_s(self.baseline())

    def close(self) -> None:
        """End the baselines' processes."""
        for worker in (worker for workers in self._resident.values() for worker in workers):
            with contextlib.suppress(OSError):
                worker.close()
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


def warm(worker: Worker, steps: int = WARM_STEPS) -> tuple[float, float]:
    """Seconds by which the first two steps and the first evaluation exceed steady ones, and those
    of a steady step. A compiled model is compiled for the evaluation once more."""
    times_s = worker.run(1)
    times_s += worker.run(steps if times_s[0] < LONG_START_S else 3)
    steady_s = statistics.median_high(times_s[-5:])
    first_s, second_s = worker.evaluation_s(), worker.evaluation_s()
    worker.save()
    excess_s = [first_s - second_s, *(t - steady_s for t in times_s[:2])]
    return sum(max(0.0, s) for s in excess_s), steady_s


def steady_step_s(worker: Worker) -> float:
    """Seconds of a step of a worker that has been warmed."""
    return statistics.median_high(worker.run(3))


def ready(worker: Worker) -> Side:
    """A worker that has been warmed, ready to take turns."""
    return Side(worker, steps_per_turn(steady_step_s(worker)))


def steps_per_turn(step_s: float) -> int:
    """How many steps make a turn.

    >>> steps_per_turn(0.040), steps_per_turn(3.0)
    (3, 1)
    """
    return max(1, round(TURN_S / max(step_s, 1e-6)))
