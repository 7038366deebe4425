"""Does a script learn the same with settings from outside? Its losses after equally many steps,
from several seeds: the same rule as for our own loop (`learning.py`)."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise

from mfubench.advise.learning import Curve, Learning, learning_of
from mfubench.advise.script_bench import Bench
from mfubench.knobs.script import Turned
from mfubench.sides.spec import SideSpec

SEEDS = (0, 1, 2)
"""Added to the script's own seed."""
STEPS, LEAST_STEPS = 300, 40
POINTS = 20
TAIL_SHARE = 0.25
"""Of the steps, the last ones: their mean loss is what was learnt."""


def steps_within(left_s: float, step_s: float) -> int | None:
    """How many steps of each run there is time for; None where they are too few to say anything.

    >>> steps_within(100.0, 0.1), steps_within(1.0, 0.05)
    (166, None)
    """
    steps = min(STEPS, int(left_s / (2 * len(SEEDS) * max(step_s, 1e-6))))
    return steps if steps >= LEAST_STEPS else None


def compared(
    bench: Bench, base: SideSpec, found: Turned, steps: int, left_s: Callable[[], float]
) -> Learning | str:
    """What the script learns with and without, or why that is not known. Raises TooShortError."""
    curves: dict[str, list[Curve]] = {"base": [], "found": []}
    for seed in SEEDS:
        shift = {"seed": seed}
        sides = [Turned().of(base, "base", **shift), found.of(base, "found", **shift)]
        runs = bench.losses(sides, steps, left_s())
        for name, losses in zip(curves, runs, strict=True):
            if isinstance(losses, str):
                return f"not kept: its losses could not be compared ({losses})"
            known = [one for one in losses if one is not None]
            if len(known) < LEAST_STEPS or len(known) < len(losses):
                return "not kept: it has too few steps with a finite loss"
            curves[name].append(curve(seed, known))
    return learning_of(curves["base"], curves["found"])


def curve(seed: int, losses: Sequence[float]) -> Curve:
    """A run's losses in so many points; what it learnt is the mean of its last ones.

    >>> curve(0, [4.0] * 30 + [2.0] * 10).validation_loss
    2.0
    """
    count = len(losses)
    ends = sorted({round(count * i / POINTS) for i in range(POINTS + 1)})
    return Curve(
        seed=seed,
        tokens=ends[1:],
        losses=[statistics.fmean(losses[a:b]) for a, b in pairwise(ends)],
        validation_loss=statistics.fmean(losses[-max(1, round(TAIL_SHARE * count)) :]),
    )
