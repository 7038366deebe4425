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
from mfubench.measure.loop_config import LoopConfig, keeps_memory
from mfubench.measure.train_step import SEED
from mfubench.pairs.fork_server import ForkServers
from mfubench.pairs.loop_side import COMMAND, FEW_WARM_STEPS, WARM_STEPS, LoopSide
from mfubench.pairs.pairing import (
    TURN_S,
    Pairing,
    TurnTaker,
    ready,
    steps_per_turn,
)
from mfubench.pairs.side import START_TIMEOUT_S, SideError

PROCESSES = 4
"""Of either side, where a pair of processes is the unit."""


class KnobBench:
    """The baseline of a preset on a device, nanoGPT's own loop, and pairings of it with changes."""

    def __init__(self, base: LoopConfig, *, corpus: Path | None = None) -> None:
        self.base = base
        self.machine = machine_of(base)
        self._corpus = corpus
        self._cache = tempfile.TemporaryDirectory(prefix="mfubench-knobs-")
        self._resident: dict[str, list[LoopSide]] = {}
        self._forks = ForkServers()

    def config_of(self, knob: Knob, config: LoopConfig | None = None) -> LoopConfig:
        """A configuration (the baseline, if none is given) with the knob turned."""
        config = config or self.base
        return config.changed(knob.change(config, self.machine))

    # --- processes --------------------------------------------------------------------------------

    def launch(self, config: LoopConfig, *, seed: int = SEED, may_fork: bool = True) -> LoopSide:
        """A side that builds its loop while the parent goes on; `LoopSide.wait` before its use.

        What is compared with processes of the plain loop, which are no forks, is none either. A
        change of the environment has a fork of its own environment: a process is slow for good more
        often than a fork is (docs/findings.md).
        """
        start = None
        if may_fork and config.may_fork:
            start = self._forks.start_of(COMMAND, config.environment)
        cache = Path(self._cache.name)
        return LoopSide(config, cache=cache, corpus=self._corpus, seed=seed, start=start)

    def start(self, config: LoopConfig, *, seed: int = SEED) -> LoopSide:
        """A side of a configuration, built. Raises SideError when it cannot be."""
        return self.launch(config, seed=seed).wait()

    def start_warm(
        self,
        config: LoopConfig,
        count: int,
        *,
        beside: Sequence[LoopSide] = (),
        may_fork: bool = True,
    ) -> list[LoopSide]:
        """Sides of a configuration, built and warmed. They load their libraries together; those
        `beside` are built before any is warmed, which is timed. Raises SideError, none left."""
        with contextlib.ExitStack() as started:
            sides = [
                started.enter_context(self.launch(config, may_fork=may_fork)) for _ in range(count)
            ]
            for side in sides:
                side.wait()
            for side in beside if sides else ():
                side.has_answered(START_TIMEOUT_S)
            for side in sides:
                side.warm()
            started.pop_all()
        return sides

    def baseline(self) -> LoopSide:
        """The resident steadied baseline, started anew if it has died."""
        return self._alive("steadied", self.base.steadied, 1)[0]

    def plain_baseline(self) -> LoopSide:
        """One resident process of the loop as it is."""
        return self._alive("plain", self.base, 1)[0]

    def plain_baselines(self, *, start: bool = True) -> list[LoopSide]:
        """Several resident processes of the loop as it is, those that run if none may be started;
        one where nothing is steadied."""
        name, count = self._plain
        return self._alive(name, self.base, count) if start else self._resident.get(name, [])

    @property
    def _plain(self) -> tuple[str, int]:
        return ("plain", PROCESSES) if self.allocator_states_differ else ("steadied", 1)

    def end_plain_baselines(self) -> None:
        """End the processes of the loop as it is; those that are asked for next are new."""
        for side in self._resident.pop(self._plain[0], []):
            side.close()

    def base_step_s(self) -> float:
        """Seconds of a warm step of the baseline."""
        return self.baseline().steady_step_s()

    def _alive(
        self, name: str, config: LoopConfig, count: int, *, beside: Sequence[LoopSide] = ()
    ) -> list[LoopSide]:
        sides = self._resident.setdefault(name, [])
        for side in list(sides):
            try:
                side.run(1)
            except SideError:
                side.close()
                sides.remove(side)
        sides += self.start_warm(config, count - len(sides), beside=beside)
        return sides[:count]

    def close(self) -> None:
        """End the baselines' processes."""
        for side in (side for sides in self._resident.values() for side in sides):
            with contextlib.suppress(OSError):
                side.close()
        self._forks.close()
        self._cache.cleanup()

    # --- pairings ---------------------------------------------------------------------------------

    @property
    def allocator_states_differ(self) -> bool:
        """Whether processes of the baseline differ by what their allocators do, as on a CPU."""
        return self.base != self.base.steadied

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

    def bases_for(
        self, config: LoopConfig, *, processes: int = 1, beside: Sequence[LoopSide] = ()
    ) -> list[LoopSide]:
        """The resident processes that a change of the baseline is compared with."""
        name, base, count = self._comparison(config)
        return self._alive(name, base, max(count, processes), beside=beside)

    @contextlib.contextmanager
    def turns_with(
        self,
        config: LoopConfig,
        *,
        processes: int = 1,
        beside: Sequence[LoopSide] = (),
        turn_s: float = TURN_S,
        warm_steps: int = WARM_STEPS,
    ) -> Iterator[Pairing]:
        """Turns of a change of the baseline, in so many processes, against those it is compared
        with; its own end with the context. Processes `beside` may still build: they are waited
        for. Raises SideError."""
        with contextlib.ExitStack() as started:
            may_fork = not config.chooses_allocator
            candidates = [
                started.enter_context(self.launch(config.steadied, may_fork=may_fork))
                for _ in range(processes)
            ]
            everyone = [*beside, *candidates]
            bases = self.bases_for(config, processes=processes, beside=everyone)
            for side in everyone:
                side.has_answered(START_TIMEOUT_S)
            for side in candidates:
                side.wait()
            yield self.turns_of(bases, candidates, turn_s=turn_s, warm_steps=warm_steps)

    @contextlib.contextmanager
    def pair(self, base: LoopConfig, config: LoopConfig) -> Iterator[Pairing]:
        """Turns of a new process of each, both of them forks or none. They build at once. Raises
        SideError."""
        both = (base, config)
        may_fork = all(one.may_fork and keeps_memory(one.environment) for one in both)
        with contextlib.ExitStack() as started:
            sides = [started.enter_context(self.launch(one, may_fork=may_fork)) for one in both]
            for side in sides:
                side.has_answered(START_TIMEOUT_S)
            for side in sides:
                side.wait()
            sides[0].warm(FEW_WARM_STEPS)
            yield self.turns_of(sides[:1], sides[1:], warm_steps=FEW_WARM_STEPS)

    def turns_of(
        self,
        bases: Sequence[LoopSide],
        candidates: Sequence[LoopSide],
        *,
        turn_s: float = TURN_S,
        warm_steps: int = WARM_STEPS,
    ) -> Pairing:
        """Sides ready to take turns; the candidates are warmed, the bases have been before."""
        warmed = [side.warm(warm_steps) for side in candidates]
        return Pairing(
            bases=[ready(base, turn_s) for base in bases],
            candidates=[
                TurnTaker(side, steps_per_turn(step_s, turn_s))
                for side, (_, step_s) in zip(candidates, warmed, strict=True)
            ],
            start_up_s=warmed[0][0],
            step_s=max(step_s for _, step_s in warmed),
        )


def nanogpt_baseline(preset: str, device: str, *, threads: int | None) -> LoopConfig:
    """nanoGPT's own loop of a preset as `train.py` runs it on a device.

    On CUDA that is bfloat16 autocast (float16 before Ampere), compiled, and the fused AdamW. On a
    CPU and elsewhere nanoGPT casts nothing; its presets for CPUs turn the compiler off.
    """
    plain = LoopConfig(
        preset=preset, device=device, batch_size=get_preset(preset).batch_size, threads=threads
    )
    target = parse_device(device)
    if target.kind != "cuda" or target.unavailable_reason() is not None:
        return plain
    half = "float16" if target.unsupported_reason("bfloat16") else "bfloat16"
    return plain.changed({"dtype": half, "compile": "default"})


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
