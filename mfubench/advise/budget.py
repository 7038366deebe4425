"""The time budget of a search: what is left of it, and what the next thing will take, about."""

from __future__ import annotations

import statistics
import time
from functools import cached_property

from mfubench.advise import factorial
from mfubench.knobs.bench import PROCESSES, KnobBench
from mfubench.measure.loop_config import LoopConfig
from mfubench.pairs.pairing import SETTLE_S

EXPECTED_TRY_S, EXPECTED_COMPILED_TRY_S, EXPECTED_START_S = 5.0, 45.0, 2.0
"""On a quiet machine with 2 cores; a process started among others takes less than one alone."""
EXPECTED_FORKED_PAIR_S, EXPECTED_PAIR_S = 4.0, 10.0
STEPS_PER_TURN = 4 / 3
"""Of a verification's turn: a step and an evaluation batch, which takes about a third of one."""
VERIFY_ROUNDS, MOST_VERIFY_ROUNDS = 20, 60
MOST_BATCHES = 3
"""Of pairs of processes in a verification."""
SECOND_BATCH_SHARE = 0.1
"""Of the budget, at most, is held back for a second batch: four pairs tell a gain of 5 % in seven
of ten cases, eight in nearly all."""


class Budget:
    """Seconds from the start of a search, and what its tries took until now."""

    def __init__(self, bench: KnobBench, budget_s: float) -> None:
        self.budget_s = budget_s
        self._bench = bench
        self._start_s = time.perf_counter()
        self._tries_s: list[float] = []

    @property
    def spent_s(self) -> float:
        return time.perf_counter() - self._start_s

    def left_s(self, share: float = 1.0) -> float:
        """What is left of a share of the budget."""
        return share * self.budget_s - self.spent_s

    def spare_s(self, config: LoopConfig) -> float:
        """What is left when this configuration is verified at the end."""
        second_s = min(self._another_batch_s, SECOND_BATCH_SHARE * self.budget_s)
        return self.left_s() - self._verify_s(config) - second_s

    def tried(self, seconds: float) -> None:
        """Note what an eager try took that started one process."""
        self._tries_s.append(seconds)

    @cached_property
    def base_step_s(self) -> float:
        """A step of the baseline. Timed once: it is asked for before every knob."""
        return self._bench.base_step_s()

    @property
    def _round_s(self) -> float:
        """Of a verification: a turn of each process, by a step of the baseline."""
        return 2 * PROCESSES * (STEPS_PER_TURN * self.base_step_s + SETTLE_S)

    @property
    def _slowness(self) -> float:
        """How much longer tries took than on a quiet machine, 1 at least."""
        return max(1.0, statistics.median(self._tries_s or [0.0]) / EXPECTED_TRY_S)

    def expected_s(self, *configs: LoopConfig) -> float:
        """Seconds that tries of configurations take."""
        starts = sum(self._bench.processes_to_start(config) - 1 for config in configs)
        tries_s = sum(
            EXPECTED_TRY_S if config.compile == "no" else EXPECTED_COMPILED_TRY_S
            for config in configs
        )
        return self._slowness * (starts * EXPECTED_START_S + tries_s)

    def factorial_s(self, settings: int, *, forked: bool) -> float:
        """Seconds that the pairs of a factorial design take, both of whose processes are new. Where
        the baseline compiles, each of them does."""
        base = self._bench.base
        pair_s = EXPECTED_FORKED_PAIR_S if forked and base.may_fork else EXPECTED_PAIR_S
        if base.compile != "no":
            pair_s = EXPECTED_COMPILED_TRY_S
        return self._slowness * factorial.pairs_of(settings) * pair_s

    def _verify_s(self, config: LoopConfig) -> float:
        """Processes of the found configuration find its compiled code, the first excepted."""
        bases = PROCESSES - len(self._bench.plain_baselines(start=False))
        starts_s = (PROCESSES - 1 + bases) * EXPECTED_START_S
        turns_s = VERIFY_ROUNDS * self._round_s
        return self.expected_s(config) + self._slowness * starts_s + turns_s

    @property
    def _another_batch_s(self) -> float:
        """All of its processes are new."""
        starts_s = 2 * PROCESSES * EXPECTED_START_S
        return self._slowness * starts_s + VERIFY_ROUNDS * self._round_s

    def plan(self, config: LoopConfig) -> tuple[int, int]:
        """How many batches of pairs a verification may take, and how many rounds of turns each:
        what the budget has left, settled before the first is measured."""
        spare_s = self.left_s() - self._verify_s(config)
        batches = min(MOST_BATCHES, 1 + max(0, int(spare_s / self._another_batch_s)))
        spare_s -= (batches - 1) * self._another_batch_s
        more = max(0, int(spare_s / (batches * self._round_s)))
        return batches, min(MOST_VERIFY_ROUNDS, VERIFY_ROUNDS + more)
