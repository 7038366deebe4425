"""Knobs of our own loop that look faster alone: what each gives among the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from mfubench.advise import advice, factorial
from mfubench.advise.budget import Budget
from mfubench.advise.prospects import Prospects
from mfubench.analysis.effect import Effect, log_ratio
from mfubench.knobs.bench import KnobBench
from mfubench.knobs.knob import Knob
from mfubench.measure.loop_config import LoopConfig
from mfubench.pairs.pairing import around
from mfubench.pairs.side import SideError

TURNS = 10
"""Of each process in a pair."""


class Together:
    """Pairs of processes with some of the knobs, and with the rest."""

    def __init__(
        self, bench: KnobBench, budget: Budget, prospects: Prospects, say: Callable[[str], None]
    ) -> None:
        self._bench = bench
        self._budget = budget
        self._prospects = prospects
        self._say = say
        self.before_s = 0.0
        """An iteration of the baseline."""
        self.is_cut = False
        """Whether there was no time for it."""

    def effects(self, by_gain: Sequence[Knob]) -> dict[str, Effect]:
        """What each gives, by name; empty where that could not be measured."""
        able = self._at_once(by_gain)
        forked = [k for k in able if not self._bench.config_of(k).chooses_allocator]
        knobs = factorial.most_that_fit(able, forked, lambda some: self._rounds(some) > 0)
        self.is_cut = bool(able) and not knobs
        if not knobs:
            return {}
        self._say(f"{len(knobs)} settings at once, some of them in each process")
        effects: list[Effect] = []
        try:
            since_s = time.perf_counter()
            for found in factorial.measured(
                len(knobs),
                lambda row: self._log_of(knobs, row),
                rounds=max(1, self._rounds(knobs)),
            ):
                effects = found
                if self._spare_s < time.perf_counter() - since_s:
                    break
                since_s = time.perf_counter()
        except SideError as error:
            self._say(f"together they could not be measured: {error.reason}")
        return dict(zip((knob.name for knob in knobs), effects, strict=False))

    def least_s(self, knobs: Sequence[Knob]) -> float:
        """Seconds that the pairs for so many knobs take at the least."""
        few = min(len(knobs), factorial.FEW)
        return self._budget.factorial_s(few, forked=True) if few else 0.0

    def _rounds(self, knobs: Sequence[Knob]) -> int:
        """How many rounds of the design for these knobs there is time for."""
        once_s = self._budget.factorial_s(len(knobs), forked=self._are_steady(knobs))
        return min(factorial.MOST_ROUNDS, max(0, int(self._spare_s / once_s)))

    @property
    def _spare_s(self) -> float:
        return self._budget.spare_s(self._bench.base)

    def _are_steady(self, knobs: Sequence[Knob]) -> bool:
        """Whether no process has an allocator of its own, so that all may be steadied."""
        return not any(self._bench.config_of(knob).chooses_allocator for knob in knobs)

    def _at_once(self, by_gain: Sequence[Knob]) -> list[Knob]:
        """Those that can be set at once, of two of one setting the first. What compiles, and other
        batches, would stretch every pair."""
        found: list[Knob] = []
        settings: set[str] = set()
        for knob in by_gain:
            compiles = self._bench.config_of(knob).compile != self._bench.base.compile
            if compiles or self._prospects.trains_other_batches(knob):
                continue
            own = advice.settings_of(knob.change(self._bench.base, self._bench.machine))
            if not settings & own:
                settings |= own
                found.append(knob)
        return found

    def _log_of(self, knobs: Sequence[Knob], row: Sequence[int]) -> tuple[float, int]:
        """How much faster a process with the knobs of sign 1 is than one with the others."""
        base, candidate = (
            self._with([k for k, its in zip(knobs, row, strict=True) if its == sign])
            for sign in (-1, 1)
        )
        if self._are_steady(knobs):
            base, candidate = base.steadied, candidate.steadied
        with self._bench.pair(base, candidate) as pairing:
            pairing.take(TURNS)
        if -1 not in row:
            self.before_s = pairing.base_iteration_s
        return log_ratio(around(pairing.bases[0].s_per_token), pairing.s_per_token), TURNS

    def _with(self, knobs: Sequence[Knob]) -> LoopConfig:
        config = self._bench.base
        for knob in knobs:
            config = self._bench.config_of(knob, config)
        return config
