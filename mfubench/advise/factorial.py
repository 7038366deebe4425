"""What each of several settings gives, from pairs of processes in which half of them are turned.

One setting at a time, a pair of processes tells about one of them. Here one process of a pair has
some of the settings and the other one has the rest, so that any two are together as often as apart:
every pair tells about all of them (a two-level factorial design: Box, Hunter and Hunter, Statistics
for Experimenters, 2005, chapter 5). Eight pairs tell of each of five settings as much as eight
pairs for each, forty in all. Gains are taken to multiply; the verification must not rely on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from mfubench.analysis.effect import UNCLEAR, WORTH_RATIO, Effect, effect_of_logs
from mfubench.analysis.sequential import errors_of_looks

T = TypeVar("T")
FEW, MOST = 5, 11
"""Settings that the small and the large design hold, with degrees of freedom to spare."""
FEW_PAIRS, MANY_PAIRS = 8, 16
MOST_ROUNDS = 3
"""Of a design, while it is unclear what a setting gives."""
WORTH_A_LOOK = 1 + WORTH_RATIO / 2
"""What looks less than this much faster alone is left out, and is not measured for longer."""


def pairs_of(settings: int) -> int:
    """How many pairs of processes a round of the design for so many settings takes."""
    return FEW_PAIRS if settings <= FEW else MANY_PAIRS


def most_that_fit(
    able: Sequence[T], forked: Sequence[T], fits: Callable[[Sequence[T]], bool]
) -> Sequence[T]:
    """As many as there is time for, those that can be forked where all take too long; else none."""
    sizes = [some[:most] for some in (able, forked) for most in (MOST, FEW)]
    return next((some for some in sizes if some and fits(some)), [])


def design(settings: int) -> list[list[int]]:
    """Of each pair, on which side each setting is turned: 1 or -1. Columns of a Hadamard matrix:
    any two settings are on the same side in half of the pairs.

    >>> [len(design(settings)) for settings in (2, 5, 6)]
    [8, 8, 16]
    >>> design(3)[0], design(3)[1]
    ([1, 1, 1], [-1, 1, -1])
    """
    from scipy import linalg

    matrix = linalg.hadamard(pairs_of(settings))[:, 1 : settings + 1]
    return [[int(sign) for sign in row] for row in matrix]


def effects_of(
    signs: Sequence[Sequence[int]], logs: Sequence[float], *, turns: int, error: float = 0.025
) -> list[Effect]:
    """The effect of each setting, from the log-ratio of each pair (the side -1 over the side 1, in
    seconds per token). The spread is what the settings leave unexplained.

    >>> signs = design(2)
    >>> logs = [0.05 * a + 0.01 * b for a, b in signs]
    >>> [round(e.ratio, 3) for e in effects_of(signs, logs, turns=80)]
    [1.051, 1.01]
    """
    table, values = np.asarray(signs, float), np.asarray(logs, float)
    gains, *_ = np.linalg.lstsq(table, values, rcond=None)
    freedom = len(values) - table.shape[1]
    left = float(np.sum((values - table @ gains) ** 2))
    shares = np.diag(np.linalg.inv(table.T @ table))
    return [
        effect_of_logs(
            [float(gain)] * len(values),
            turns=turns,
            spread=math.sqrt(left / freedom),
            freedom=freedom,
            share=float(share),
            error=error,
        )
        for gain, share in zip(gains, shares, strict=True)
    ]


def measured(
    settings: int, log_of: Callable[[Sequence[int]], tuple[float, int]], *, rounds: int
) -> Iterator[list[Effect]]:
    """What each gives, after each of so many planned rounds of the design: the intervals hold at
    all of them together. They end when no setting that looks faster is unclear.

    `log_of` measures a pair of processes, by the signs of its settings: its log-ratio, and how many
    turns it is from.
    """
    rows, told = design(settings), list[tuple[float, int]]()
    for number, error in enumerate(
        errors_of_looks([len(rows) * (number + 1) for number in range(rounds)]), 1
    ):
        told += [log_of(row) for row in rows]
        logs, turns = zip(*told, strict=True)
        found = effects_of(rows * number, logs, turns=sum(turns), error=error)
        yield found
        if not any(one.verdict == UNCLEAR and one.ratio >= WORTH_A_LOOK for one in found):
            return
