"""What every rank of a case does: turns of five kinds, in cycles, then what is measured once.

All turns of a cycle lie beside each other in time, in an order that is drawn anew for each, so that
what the machine does meanwhile falls on all kinds alike. Threads and processors of a rank are the
same in all of them.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from mfubench_model.corpus import open_corpus
from mfubench_model.presets import get_preset

from mfubench.hardware.affinity import usable_cpus
from mfubench.hardware.devices import Device, parse_device
from mfubench.measure.gpt_workload import GPTWorkload
from mfubench.measure.precision import matmul_precision
from mfubench.ranks.measure.collectives import measure_collectives
from mfubench.ranks.measure.group import Ranks
from mfubench.ranks.measure.profile import profiled_exposed_s
from mfubench.ranks.measure.speed import own_speed
from mfubench.ranks.measure.strategies import STEPS, Replica, Strategy
from mfubench.ranks.rules.account import LEAST_CYCLES
from mfubench.ranks.rules.config import Plant, RanksConfig
from mfubench.ranks.rules.slow import cycles_needed
from mfubench.ranks.rules.turns import ALONE, BESIDE, SILENT, TRAINING, WHOLE, Kind, Message, Turn

TURN_S = 0.25
MOST_CYCLES, MOST_STEPS = 40, 50
WARM_STEPS = 3
"""DDP arranges its buckets anew after the first step."""


def placed(local_rank: int, on_this_host: int) -> tuple[int, ...]:
    """The processors of a rank where ranks of a host share them out, in order.

    >>> [share((0, 1, 2, 3, 4), rank, 2) for rank in (0, 1)]
    [(0, 1), (2, 3)]
    """
    return share(usable_cpus(), local_rank, on_this_host)


def share(cpus: tuple[int, ...], local_rank: int, on_this_host: int) -> tuple[int, ...]:
    """As `placed`, of given processors; where ranks are more than those, several share one."""
    each = len(cpus) // on_this_host
    if each == 0:
        return (cpus[local_rank % len(cpus)],)
    return cpus[local_rank * each : (local_rank + 1) * each]


class RankCase:
    """One case on this rank."""

    def __init__(self, config: RanksConfig, ranks: Ranks, device: Device) -> None:
        self.config, self.ranks, self.device = config, ranks, device
        self.plant = config.plant or Plant()
        self.report = ranks.report

    def run(self, keep: Callable[[], None], scratch: str | None = None) -> None:
        """Measure everything; `keep` is called as often as there is something new to keep. Files
        that are needed meanwhile go to `scratch`, which outlives a rank that is killed, and is
        taken away by who made it."""
        self.ranks.at("meeting")
        self._misbehave()
        if self.plant.other_code and self.ranks.rank == self.plant.rank:
            self.report.identity["code of mfubench"] = "planted"
        self.ranks.refuse_different()
        with (
            matmul_precision(self.config.dtype),
            tempfile.TemporaryDirectory(dir=scratch) as folder,
        ):
            self.ranks.at("building the model")
            self._build(Path(folder))
            keep()
            self._turns(keep)
            self.ranks.at("measuring what is measured once")
            self._once()
        self.ranks.hand_in()
        keep()
        self.ranks.wait()

    # --- preparing ------------------------------------------------------------------------------

    def _build(self, folder: Path) -> None:
        config, preset = self.config, get_preset(self.config.preset)
        corpus = open_corpus(
            Path(config.corpus) if config.corpus else None,
            vocab_size=preset.config.vocab_size,
            block_size=preset.config.block_size,
            cache_dir=folder,
        )
        each = config.batch_size
        if config.scaling == "strong":
            each //= self.ranks.count
        how: dict[str, Any] = {
            "dtype": config.dtype,
            "compile": config.compile,
            "rank": self.ranks.rank,
            "accumulation": config.accumulation,
        }
        workload = GPTWorkload(preset, each, corpus)
        self.alone = Replica(workload, self.device, **how)
        self.together: Strategy = STEPS[config.strategy](workload, self.device, **how)
        self.whole: Replica | None = None
        if config.scaling == "strong":
            self.whole = Replica(GPTWorkload(preset, config.batch_size, corpus), self.device, **how)
        cost = workload.cost(config.dtype, self.device.kind)
        self.report.model_flops_per_step = cost.model_flops * config.accumulation
        self.report.tokens_per_step = cost.tokens * config.accumulation
        self.report.threads = torch.get_num_threads()
        self.report.cpus = list(usable_cpus())

    def _warm(self) -> float:
        """Seconds of a step, the slowest rank's."""
        self.ranks.at("warming up")
        for step in (self.alone, self.together, self.whole):
            if step is not None:
                for _ in range(WARM_STEPS):
                    step()
        start_s = time.perf_counter()
        self.together()
        return self.ranks.largest(time.perf_counter() - start_s)

    # --- turns ----------------------------------------------------------------------------------

    def _turns(self, keep: Callable[[], None]) -> None:
        step_s = self._warm()
        steps = max(2, min(MOST_STEPS, round(TURN_S / step_s)))
        kinds: list[Kind] = [ALONE, BESIDE, SILENT, TRAINING]
        if self.whole is not None:
            kinds.append(WHOLE)
        cycle_s = step_s * (steps + 1) * len(kinds)
        needed = max(LEAST_CYCLES + 2, cycles_needed(self.ranks.count))
        cycles = self.config.cycles or max(
            needed, min(MOST_CYCLES, math.floor(self.config.budget_s / cycle_s))
        )
        for cycle in range(cycles):
            self.ranks.measure_clock()
            for kind in random.Random(cycle).sample(kinds, len(kinds)):
                self.ranks.at(f"cycle {cycle + 1} of {cycles}, turn {kind}")
                self._turn(kind, cycle, steps)
                self._misbehave(cycle)
            self.ranks.hand_in()
            keep()

    def _turn(self, kind: Kind, cycle: int, steps: int) -> None:
        """A turn of one kind: one step untimed, as caches hold what the last turn used; then all
        start together."""
        self.ranks.wait()
        if kind in (ALONE, WHOLE):
            if cycle % self.ranks.count == self.ranks.rank:
                step = self.alone if kind == ALONE else self.whole
                assert step is not None
                step()
                self._timed(kind, cycle, step, steps)
            self.ranks.wait()  # the others wait here, asleep
            return
        if kind == BESIDE:
            self.alone()
            self.ranks.wait()
            self._timed(kind, cycle, self.alone, steps)
            return
        silence = self.together.silent() if kind == SILENT else contextlib.nullcontext()
        with self._delay(cycle), silence:
            self.together()
            self.ranks.wait()
            self._timed(kind, cycle, self.together, steps)
            self.ranks.wait()  # a rank that is done must not disturb one that is timed

    @contextlib.contextmanager
    def _delay(self, cycle: int) -> Iterator[None]:
        """A planted slow wire, in the cycles that have it."""
        communication = self.together.communication
        per_byte = self.plant.delay_s_per_byte
        if per_byte and not (self.plant.every_other and cycle % 2):
            communication.delay = lambda size: size * per_byte
        yield
        communication.delay = None

    def _timed(self, kind: Kind, cycle: int, step: Replica, steps: int) -> None:
        """Time the steps of a turn, and hold what communication noted meanwhile."""
        communication = self.together.communication
        communication.forget()
        sleep_s = self.plant.sleep_s if self.ranks.rank == self.plant.rank else 0.0
        times_s, started_s = [], []
        if self.device.has_queue:
            start_s = time.perf_counter()
            step.run_several(steps)
            times_s = [(time.perf_counter() - start_s) / steps] * steps
        else:
            for _ in range(steps):
                start_s = time.perf_counter()
                if sleep_s:
                    time.sleep(sleep_s)
                step()
                started_s.append(start_s)
                times_s.append(time.perf_counter() - start_s)
        turn = Turn(kind=kind, cycle=cycle, steps_s=times_s)
        if kind == TRAINING:
            if len(communication.arrived_s) == steps:
                turn.started_s, turn.arrived_s = started_s, communication.arrived_s
                turn.clock_offset_s = self.report.clock_offset_s
            turn.hidden_s = communication.hidden_s(started_s)
            turn.planted_s = communication.planted_s(started_s)
            turn.counters_exposed_s = self.together.counters_exposed_s()
            self.report.messages = [
                Message(collective=collective, dtype=dtype, bytes=size, per_step=count / steps)
                for (collective, dtype, size), count in sorted(communication.messages.items())
            ]
            self.report.losses.append(float(step.last_loss))
        self.report.turns.append(turn)

    # --- once -----------------------------------------------------------------------------------

    def _once(self) -> None:
        self.report.loss = float(self.together.last_loss)
        self.report.checksum = self.together.checksum()
        self.report.peak_memory_bytes = self.device.peak_memory_bytes()
        if self.config.with_profile:
            self.ranks.at("profiling")
            with self._delay(0):
                self.report.profile_exposed_s = profiled_exposed_s(self.together, self.device)
            self.ranks.wait()
        if self.config.with_collectives:
            self.ranks.at("measuring collectives")
            self.report.collectives = measure_collectives(
                self.ranks, self.device, self.report.messages
            )
        self.ranks.at("measuring its own speed")
        self.ranks.wait()
        flops_per_s, bytes_per_s = own_speed(self.device)
        self.report.gemm_flops_per_s, self.report.copy_bytes_per_s = flops_per_s, bytes_per_s
        self.together.close()

    def _misbehave(self, cycle: int | None = None) -> None:
        """Do what a test has planted."""
        plant = self.plant
        if self.ranks.rank != plant.rank:
            return
        if plant.runs_out_of_memory and cycle is None:
            raise torch.OutOfMemoryError("planted: out of memory")
        if cycle is None:
            return
        if cycle == plant.fails_in_cycle:
            raise ValueError("planted")
        if cycle == plant.dies_in_cycle:
            os.kill(os.getpid(), signal.SIGKILL)
        if cycle == plant.hangs_in_cycle:
            time.sleep(3600)


def device_of(config: RanksConfig, local_rank: int) -> Device:
    """The device of a rank: its own of several, the CPU that all of a host share. Raises
    RuntimeError where it is not there."""
    kind = config.device.partition(":")[0]
    device = parse_device(kind if kind == "cpu" or local_rank == 0 else f"{kind}:{local_rank}")
    if reason := device.unavailable_reason():
        raise RuntimeError(f"local rank {local_rank} has no device {kind}:{local_rank}: {reason}")
    return device
