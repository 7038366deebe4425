"""Trains configurations on equally many tokens, in processes of their own, from the same seeds."""

from __future__ import annotations

import statistics
from itertools import pairwise

from mfubench.advise.learning import Curve, Learning, learning_of
from mfubench.knobs.bench import KnobBench
from mfubench.measure.loop_config import LoopConfig
from mfubench.pairs.loop_side import LoopSide

ITERATIONS = 300
"""Baseline iterations whose tokens every side trains on."""
SEEDS = (1337, 1338, 1339)
EVALUATION_BATCHES = 40
POINTS = 30


class LearningBench:
    """The baseline's losses are taken once, when they are first needed."""

    def __init__(self, bench: KnobBench, *, iterations: int = ITERATIONS) -> None:
        self._bench = bench
        self._iterations = iterations
        self._baseline: list[Curve] = []

    def expected_s(self, base_step_s: float) -> float:
        """Seconds that the next comparison takes, about: a candidate learns no slower, else it
        would not be compared."""
        runs = len(SEEDS) * (1 if self._baseline else 2)
        return runs * (self._iterations * base_step_s + EVALUATION_BATCHES * base_step_s / 3 + 0.5)

    def compare(self, config: LoopConfig) -> Learning:
        """Train a configuration; stop after the first seed when it is clearly worse.

        Raises SideError when it cannot be trained.
        """
        if not self._baseline:
            with self._bench.start(self._bench.base) as side:
                self._baseline = [self._train(side, seed) for seed in SEEDS]
        curves: list[Curve] = []
        with self._bench.start(config) as side:
            for seed in SEEDS:
                curves.append(self._train(side, seed))
                learning = learning_of(self._baseline, curves)
                if learning.is_clearly_worse:
                    break
        return learning

    def _train(self, side: LoopSide, seed: int) -> Curve:
        config, base = side.config, self._bench.base
        iterations = max(1, round(self._iterations * base.tokens_factor / config.tokens_factor))
        # The same number of sequences for every side.
        batches = max(1, round(EVALUATION_BATCHES * base.batch_size / config.batch_size))
        side.restart(seed)
        losses = [float(loss) for loss in side.ask({"losses": iterations})["losses"]]
        ends = sorted({round(iterations * i / POINTS) for i in range(POINTS + 1)})
        return Curve(
            seed=seed,
            tokens=[end * side.tokens_per_step for end in ends[1:]],
            losses=[statistics.fmean(losses[a:b]) for a, b in pairwise(ends)],
            validation_loss=float(side.ask({"evaluate": batches})["loss"]),
        )
