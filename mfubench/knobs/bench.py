"""Knobs measured in turns against a baseline that stays resident in processes of its own.

Most knobs are measured with steadied allocators on both sides. What an allocator does differs from
process to process: a knob that chooses it is compared with processes of the plain loop.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from mfubench_model.presets import get_preset

from mfubench.hardware.affinity import performance_cpus, usable_cpus
from mfubench.hardware.cpu import usable_cores
from mfubench.hardware.devices import parse_device
from mfubench.knobs.knob import Knob, Machine
from mfubench.measure.loop_config import LoopConfig
from mfubench.measure.train_step import SEED
from mfubench.pairs.process import START_TIMEOUT_S, Worker, WorkerError
from mfubench.pairs.turns import (
    FEW_WARM_STEPS,
    FINE_TURN_S,
    TURN_S,
    WARM_STEPS,
    ProcessPairs,
    Turns,
    ready,
    side_of,
    steady_step_s,
    warm,
)

PROCESSES = 4
"""Of either side, where a pair of processes is the unit."""


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

    def start_warm(
        self, config: LoopConfig, count: int, *, beside: Sequence[Worker] = ()
    ) -> list[Worker]:
        """Workers of a configuration, built and warmed. They load their libraries together; those
        `beside` are built before any is warmed, which is timed. Raises WorkerError, none left."""
        with contextlib.ExitStack() as started:
            workers = [started.enter_context(self.launch(config)) for _ in range(count)]
            for worker in workers:
                worker.wait()
            for worker in beside if workers else ():
                worker.has_answered(START_TIMEOUT_S)
            for worker in workers:
                warm(worker)
            started.pop_all()
        return workers

    def baseline(self) -> Worker:
        """The resident steadied baseline, started anew if it has died."""
        return self._alive("steadied", self.base.steadied, 1)[0]

    def plain_baseline(self) -> Worker:
        """One resident process of the loop as it is."""
        return self._alive("plain", self.base, 1)[0]

    def plain_baselines(self, *, start: bool = True) -> list[Worker]:
        """Several resident processes of the loop as it is, those that run if none may be started;
        one where nothing is steadied."""
        name, count = ("plain", PROCESSES) if self.allocator_states_differ else ("steadied", 1)
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
        workers += self.start_warm(config, count - len(workers), beside=beside)
        return workers[:count]

    def _comparison(self, config: LoopConfig) -> tuple[str, LoopConfig, int]:
        """What a change is compared with: a name, a configuration and a number of processes.

        Where the change chooses the allocator, that is several processes of the loop as it is.
        """
        if config.chooses_allocator and self.allocator_states_differ:
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
    def turns_with(
        self, config: LoopConfig, *, beside: Sequence[Worker] = (), turn_s: float = TURN_S
    ) -> Iterator[Turns]:
        """Turns of a change of the baseline against the processes it is compared with; its own
        process ends with the context. Processes `beside` may still build: they are waited for.
        Raises WorkerError."""
        with self.launch(config.steadied) as candidate:
            everyone = [*beside, candidate]
            bases = self.bases_for(config, beside=everyone)
            for worker in everyone:
                worker.has_answered(START_TIMEOUT_S)
            yield self.turns_of(bases, candidate.wait(), turn_s=turn_s)

    def bases_for(self, config: LoopConfig, *, beside: Sequence[Worker] = ()) -> list[Worker]:
        """The resident processes that a change of the baseline is compared with."""
        name, base, count = self._comparison(config)
        return self._alive(name, base, count, beside=beside)

    @property
    def allocator_states_differ(self) -> bool:
        """Whether processes of the baseline differ by what their allocators do, as on a CPU."""
        return self.base != self.base.steadied

    @contextlib.contextmanager
    def process_pairs_with(self, config: LoopConfig) -> Iterator[ProcessPairs]:
        """The same in `PROCESSES` pairs of processes. Raises WorkerError."""
        name, base, _ = self._comparison(config)
        with contextlib.ExitStack() as started:
            candidates = [
                started.enter_context(self.launch(config.steadied)) for _ in range(PROCESSES)
            ]
            bases = self._alive(name, base, PROCESSES, beside=candidates)
            for worker in candidates:
                worker.wait()
            yield ProcessPairs(
                [
                    self.turns_of([base], candidate, turn_s=FINE_TURN_S, warm_steps=FEW_WARM_STEPS)
                    for base, candidate in zip(bases, candidates, strict=True)
                ]
            )

    def turns_of(
        self,
        bases: Sequence[Worker],
        candidate: Worker,
        *,
        turn_s: float = TURN_S,
        warm_steps: int = WARM_STEPS,
    ) -> Turns:
        """Workers ready to take turns; the candidate is warmed, the bases have been before."""
        start_up_s, step_s = warm(candidate, warm_steps)
        return Turns(
            bases=[ready(base, turn_s) for base in bases],
            candidate=side_of(candidate, step_s, turn_s),
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
