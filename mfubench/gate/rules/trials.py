"""How often the gate errs on a machine: gates drawn from the stored pairs of its self-test.

A self-test measures pairs of processes without a change, and in the same processes turns with
planted extra work. Gates of any number of pairs are then drawn from them without measuring again.
Drawn gates share pairs, so their rates are estimates without a bound of their own; bounds
(Clopper-Pearson) come from the gates that share none.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
from scipy import stats

from mfubench.analysis import signed_rank
from mfubench.gate.rules import policy
from mfubench.gate.rules.case_trials import NO_PLANT, CaseTrials, trials_of
from mfubench.gate.rules.document import (
    CaseFigures,
    Coverage,
    FalseAlarms,
    Pair,
    Power,
    Proportion,
    Summary,
)
from mfubench.gate.rules.limits import Limits

DRAWS = 400
LIMITS = Limits()
P = TypeVar("P", bound=Proportion)


def summary(measured: Sequence[Pair], pairs: int) -> Summary:
    """What gates of so many pairs do here: false alarms, power, coverage, what can be seen.

    Raises ValueError where fewer pairs are whole.
    """
    trials = trials_of(measured)
    stored = min((len(t.control) for t in trials), default=0)
    if stored < pairs:
        raise ValueError(f"{stored} stored pairs are too few for gates of {pairs}")
    batches = windows(stored, most_pairs(stored, pairs)), _draws(stored, pairs)
    shares = [share for share in trials[0].change if share != NO_PLANT]
    return Summary(
        rule=policy.RULE,
        pairs=pairs,
        stored_pairs=stored,
        false_alarms=_alarms(trials, pairs, *batches),
        power=[_power(trials, pairs, share, *batches) for share in shares],
        coverage=_coverage(trials, pairs, windows(stored, pairs), batches[1]),
        cases=[_case_figures(t, pairs, len(trials)) for t in trials],
    )


# --- gates drawn from the pairs ------------------------------------------------------------------


def _verdicts(
    trials: Sequence[CaseTrials], pairs: int, shares: Sequence[str], order: Sequence[int]
) -> list[policy.Verdict]:
    """One gate: what it says of each case, with the pairs in this order.

    `shares` has what is planted in each case.
    """
    return [
        _judged(trial, share, tuple(order), pairs, len(trials))
        for trial, share in zip(trials, shares, strict=True)
    ]


@lru_cache(maxsize=2**15)
def _judged(
    trial: CaseTrials, share: str, order: tuple[int, ...], pairs: int, family: int
) -> policy.Verdict:
    """A case, looked at as a gate looks; the same one stands in the gates of every plant in another
    case."""
    looks = _looks(len(order), pairs)
    for number, look in enumerate(looks, 1):
        (judged,) = policy.judge_case(
            policy.CasePairs(
                step=[trial.change[share][i] for i in order[:look]],
                control=[trial.control[i] for i in order[:look]],
            ),
            LIMITS,
            family=family,
            looks=looks[:number],
            most=looks[-1],
        )
        if not judged.is_open:
            break
    return judged.verdict


def _looks(stored: int, pairs: int) -> list[int]:
    """The looks of a gate that has no more pairs than were stored."""
    return sorted({min(look, stored) for look in policy.looks_of(pairs)})


def most_pairs(stored: int, pairs: int) -> int:
    """The most pairs that a gate of these looks at."""
    return _looks(stored, pairs)[-1]


def _is_red(verdicts: Sequence[policy.Verdict]) -> bool:
    return policy.REGRESSED in verdicts or policy.SLOWER in verdicts


def windows(stored: int, size: int) -> list[list[int]]:
    """Disjoint gates: the pairs of each, in the order in which they were measured.

    >>> windows(5, 2)
    [[0, 1], [2, 3]]
    """
    return [list(range(i * size, (i + 1) * size)) for i in range(stored // size)]


@lru_cache(maxsize=8)
def _draws(stored: int, pairs: int) -> list[list[int]]:
    rng = np.random.default_rng(0)
    most = most_pairs(stored, pairs)
    return [rng.permutation(stored)[:most].tolist() for _ in range(DRAWS)]


def _alarms(
    trials: Sequence[CaseTrials],
    pairs: int,
    apart: Sequence[list[int]],
    drawn: Sequence[list[int]],
) -> FalseAlarms:
    quiet = [NO_PLANT] * len(trials)
    gates = [_verdicts(trials, pairs, quiet, draw) for draw in drawn]
    flat = [verdict for gate in gates for verdict in gate]
    return proportion(
        FalseAlarms,
        [_is_red(_verdicts(trials, pairs, quiet, window)) for window in apart],
        drawn_gates=len(gates),
        drawn_rate=statistics.fmean(map(_is_red, gates)),
        drawn_inconclusive_cases=flat.count(policy.INCONCLUSIVE) / len(flat),
    )


def _power(
    trials: Sequence[CaseTrials],
    pairs: int,
    share: str,
    apart: Sequence[list[int]],
    drawn: Sequence[list[int]],
) -> Power:
    """How often a slow-down is seen: of one case alone, each in turn, and of all cases at once (a
    change of the model slows every step), where one case that is reported makes the gate red."""

    def seen(orders: Sequence[list[int]]) -> list[bool]:
        found = []
        for number in range(len(trials)):
            shares = [NO_PLANT] * len(trials)
            shares[number] = share
            gates = (_verdicts(trials, pairs, shares, order) for order in orders)
            found += [_is_red([gate[number]]) for gate in gates]
        return found

    everywhere = [share] * len(trials)
    return proportion(
        Power,
        seen(apart),
        effect=float(share),
        true_effect=statistics.fmean(math.expm1(x) for t in trials for x in t.truth[share]),
        rate=statistics.fmean(seen(drawn)),
        whole_gate_rate=statistics.fmean(
            _is_red(_verdicts(trials, pairs, everywhere, draw)) for draw in drawn
        ),
    )


def _coverage(
    trials: Sequence[CaseTrials],
    pairs: int,
    apart: Sequence[list[int]],
    drawn: Sequence[list[int]],
) -> Coverage:
    """How often the 95 % interval of so many pairs holds the planted truth.

    Counted over cases and gates that share no pair, one planted share each in turn: shares of one
    pair have their luck in common. The rate is over drawn gates and all shares.
    """
    shares = list(trials[0].change)
    # Per pair the truth differs a little: what is left of the change must centre on zero.
    rest = [
        {s: [c - t for c, t in zip(x.change[s], x.truth[s], strict=True)] for s in shares}
        for x in trials
    ]

    def holds(values: Sequence[float], order: Sequence[int]) -> bool:
        low, high = signed_rank.interval([values[i] for i in order[:pairs]])
        return low <= 0 <= high

    errors = [signed_rank.centre(case[share]) for case in rest for share in shares]
    return proportion(
        Coverage,
        [
            holds(case[shares[(number + index) % len(shares)]], window)
            for number, case in enumerate(rest)
            for index, window in enumerate(apart)
        ],
        rate=statistics.fmean(
            holds(case[share], draw) for case in rest for share in shares for draw in drawn
        ),
        bias=statistics.fmean(errors),
        largest_bias=max(errors, key=abs),
    )


def _case_figures(trial: CaseTrials, pairs: int, family: int) -> CaseFigures:
    changes = trial.change[NO_PLANT]
    return CaseFigures(
        id=trial.id,
        pair_sd=statistics.stdev(changes),
        pair_robust_sd=float(stats.median_abs_deviation(changes, scale="normal")),
        control_sd=statistics.stdev(trial.control),
        mde=minimum_detectable(changes, pairs, family),
    )


def minimum_detectable(
    changes: Sequence[float], pairs: int, family: int, *, power: float = 0.9
) -> float:
    """The smallest slow-down that gates of so many pairs report with this power, from pairs
    without a change that are shifted by it.

    >>> quiet = [0.001, -0.001, 0.002, -0.002, 0.0015, -0.0015] * 2
    >>> 0.01 < minimum_detectable(quiet, 6, 8) < 0.02
    True
    """
    looks = _looks(len(changes), pairs)
    lows = [
        max(
            policy.bounds(
                [changes[i] for i in order[:look]],
                policy.ALPHA / family,
                looks[:number],
                looks[-1],
            )[0]
            for number, look in enumerate(looks, 1)
        )
        for order in _draws(len(changes), pairs)
    ]
    needed = math.log1p(LIMITS.floor) - float(np.quantile(lows, 1 - power))
    return math.expm1(needed)


def proportion(kind: type[P], hits: Sequence[bool], **figures: float) -> P:
    """How many of several, with the exact 95 % bounds (Clopper and Pearson, 1934).

    >>> proportion(Proportion, [False] * 40).high < 0.09
    True
    """
    count = sum(hits)
    bounds = stats.binomtest(count, len(hits)).proportion_ci(0.95, method="exact")
    low, high = float(bounds.low), float(bounds.high)
    return kind(count=count, trials=len(hits), low=low, high=high, **figures)
