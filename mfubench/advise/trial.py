"""One configuration against another in turns, and the last check over pairs of processes."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mfubench.advise.advice import Verification
from mfubench.analysis.effect import HELPS, UNCLEAR, WORTH_RATIO, Effect, effect_over_processes
from mfubench.knobs.bench import PROCESSES, KnobBench
from mfubench.measure.loop_config import LoopConfig
from mfubench.pairs.process import Worker, WorkerError
from mfubench.pairs.turns import FINE_TURN_S, Side, Turns, bars_moved, ready
from mfubench.results.bars import BarChange

FIRST_PAIRS = 6
"""After these a knob that cannot be worth it is left."""
PAIRS = 14
MOST_PAIRS = 42
"""Where the effect stays unclear: a look at 14, 28 and 42. What looks twice errs more often than
its interval says; the verification looks once, at pairs of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of measuring one configuration against another."""

    effect: Effect | None = None
    reason: str | None = None
    """Why there is no effect, or none that counts."""
    before_s: float | None = None
    """An iteration without the change."""
    bars: Sequence[BarChange] | None = None
    is_compiled: bool = False

    @property
    def helps(self) -> bool:
        """Whether it is worth a place in a combination."""
        return self.reason is None and self.effect is not None and self.effect.verdict == HELPS

    def with_bars(self, base: Worker, candidate: Worker) -> Measured:
        """The same with the bars that moved between two processes of what was measured."""
        assert self.effect is not None
        assert self.before_s is not None
        bars = bars_moved(base, candidate, before_s=self.before_s, ratio=self.effect.ratio)
        return replace(self, bars=bars)


def measured(
    turns_of: contextlib.AbstractContextManager[Turns], *, has_time: Callable[[], bool]
) -> Measured:
    """The effect of a configuration in turns, or why there is none."""
    try:
        with turns_of as turns:
            _take(turns, has_time)
            effect = turns.effect()
    except WorkerError as error:
        return Measured(reason=f"{error.outcome.value}: {error.reason}")
    before_s = turns.base_iteration_s
    if turns.candidate.worker.config.compile == "no":
        return Measured(effect=effect, before_s=before_s)
    charged = turns.charged()
    reason = None
    if effect.verdict == HELPS and charged["net_ratio"] < 1 + WORTH_RATIO:
        reason = (
            f"its start-up of {turns.start_up_s:.0f} s leaves ×{charged['net_ratio']:.3f} "
            f"over {charged['horizon_iters']} iterations"
        )
    return Measured(effect=effect, reason=reason, before_s=before_s, is_compiled=True)


def _take(turns: Turns, has_time: Callable[[], bool]) -> None:
    """Turns until they tell: few of what cannot be worth it, more of what stays unclear."""
    turns.take(FIRST_PAIRS)
    if turns.effect().high <= 1 + WORTH_RATIO:
        return
    turns.take(PAIRS - FIRST_PAIRS)
    while (
        turns.effect().verdict == UNCLEAR
        and turns.effect().high > 1 + WORTH_RATIO
        and len(turns.candidate.s_per_token) < MOST_PAIRS
        and has_time()
    ):
        turns.take(PAIRS)


def verification(bench: KnobBench, config: LoopConfig, *, rounds: int) -> Verification:
    """Pairs of processes, a configuration as it would be typed against the plain loop. Raises
    WorkerError."""
    with contextlib.ExitStack() as stack:
        bases = bench.plain_baselines()
        bases = [*bases, *_fresh(bench, bench.base, PROCESSES - len(bases), stack)]
        candidates = _fresh(bench, config, PROCESSES, stack)
        sides = [[ready(worker, FINE_TURN_S) for worker in side] for side in (bases, candidates)]
        return verification_of(*sides, rounds=rounds)


def _fresh(
    bench: KnobBench, config: LoopConfig, count: int, stack: contextlib.ExitStack
) -> list[Worker]:
    return [stack.enter_context(worker) for worker in bench.start_warm(config, count)]


def verification_of(
    bases: Sequence[Side], candidates: Sequence[Side], *, rounds: int, seed: int = 0
) -> Verification:
    """Every side takes one turn per round, in random order; one base and one candidate are a pair
    of processes."""
    order = random.Random(seed)
    everyone = [*bases, *candidates]
    for _ in range(rounds):
        for side in order.sample(everyone, len(everyone)):
            side.turn()
    pairs = zip(bases, candidates, strict=True)
    half = len(bases) // 2
    halves = zip(bases[:half], bases[half:], strict=True)
    return Verification(
        effect=effect_over_processes([(b.s_per_token, c.s_per_token) for b, c in pairs]),
        control=effect_over_processes([(a.s_per_token, b.s_per_token) for a, b in halves]),
    )
