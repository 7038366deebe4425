"""How often the gate errs on a machine: gates drawn from the stored pairs of its self-test.

A self-test measures pairs of processes without a change, and in the same processes turns with
planted extra work. Gates of any number of pairs are then drawn from them without measuring again.
Drawn gates share pairs, so their rates are estimates without a bound of their own; bounds
(Clopper-Pearson) come from the gates that share none.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from scipy import stats

from mfubench.analysis import signed_rank
from mfubench.gate.rules import policy
from mfubench.gate.rules.document import (
    CaseFigures,
    Coverage,
    FalseAlarms,
    Pair,
    PlantedTurns,
    Power,
    Proportion,
    Summary,
    Turns,
)
from mfubench.gate.rules.limits import Limits

Batches = tuple[list[int], list[int]]
"""Which pairs a gate measured first, and which to confirm."""

DRAWS = 400
NO_PLANT = "0"
"""The name of no planted change."""
LIMITS = Limits()
P = TypeVar("P", bound=Proportion)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CaseTrials:
    """The pairs of one case, by planted share of extra work; one is equal to itself alone."""

    id: str
    change: Mapping[str, Sequence[float]]
    """Measured log-ratio per pair."""
    truth: Mapping[str, Sequence[float]]
    """What was planted, as a log-ratio, timed by itself in the same turns."""
    control: Sequence[float]
    base_s: Sequence[Sequence[float]]
    """Step times of each turn of the base, per pair: for the rivals."""
    candidate_s: Mapping[str, Sequence[Sequence[float]]]


def trials_of(pairs: Sequence[Pair]) -> list[CaseTrials]:
    """The trials in stored pairs, whole cases only."""
    ids = dict.fromkeys(case_id for pair in pairs for case_id in pair.cases)
    found = []
    for case_id in ids:
        measured = [pair.cases[case_id].times for pair in pairs if case_id in pair.cases]
        cases = [times for times in measured if times is not None]
        turns = [{NO_PLANT: _unplanted(case.step), **case.planted} for case in cases]
        shares = list(turns[0]) if turns else [NO_PLANT]
        found.append(
            CaseTrials(
                id=case_id,
                change={s: [policy.log_ratio(t[s].step, t[s].base) for t in turns] for s in shares},
                truth={s: [_truth(t[s]) for t in turns] for s in shares},
                control=[policy.log_ratio(c.control.candidate, c.control.base) for c in cases],
                base_s=[case.step.base for case in cases],
                candidate_s={s: [t[s].step for t in turns] for s in shares},
            )
        )
    return found


def _unplanted(step: Turns) -> PlantedTurns:
    return PlantedTurns(base=step.base, step=step.candidate, extra=[0.0] * len(step.candidate))


def _truth(planted: PlantedTurns) -> float:
    return statistics.median(
        -math.log1p(-extra / step) for step, extra in zip(planted.step, planted.extra, strict=True)
    )


def summary(measured: Sequence[Pair], pairs: int) -> Summary:
    """What gates of so many pairs do here: false alarms, power, coverage, what can be seen.

    Raises ValueError where fewer pairs are whole.
    """
    trials = trials_of(measured)
    stored = min((len(t.control) for t in trials), default=0)
    if stored < pairs:
        raise ValueError(f"{stored} stored pairs are too few for gates of {pairs}")
    batches = windows(stored, pairs), _draws(stored, pairs)
    shares = [share for share in trials[0].change if share != NO_PLANT]
    return Summary(
        pairs=pairs,
        stored_pairs=stored,
        false_alarms=_alarms(trials, *batches),
        power=[_power(trials, share, *batches) for share in shares],
        coverage=_coverage(trials, *batches),
        cases=[_case_figures(t, pairs, len(trials)) for t in trials],
    )


# --- gates drawn from the pairs ------------------------------------------------------------------


def _verdicts(
    trials: Sequence[CaseTrials], shares: Sequence[str], batches: Batches
) -> list[policy.Verdict]:
    """One gate: what it says of each case, of which the first batch's flagged ones are confirmed.

    `shares` has what is planted in each case.
    """
    first, again = batches
    cases = list(zip(trials, shares, strict=True))
    found = [_screened(*case, tuple(first), len(trials)) for case in cases]
    flagged = policy.to_confirm([[judged] for judged in found])
    for number in flagged:
        (found[number],) = policy.judge_case(
            _taken(*cases[number], first),
            LIMITS,
            family=len(trials),
            confirmation=_taken(*cases[number], again),
            flagged=len(flagged),
        )
    return [judged.verdict for judged in found]


def _is_red(verdicts: Sequence[policy.Verdict]) -> bool:
    return policy.REGRESSED in verdicts


@lru_cache(maxsize=2**15)
def _screened(trial: CaseTrials, share: str, first: tuple[int, ...], family: int) -> policy.Judged:
    """What a first batch says; the same one stands in the gates of every plant in another case."""
    (judged,) = policy.judge_case(_taken(trial, share, first), LIMITS, family=family)
    return judged


def _taken(trial: CaseTrials, share: str, indices: Sequence[int]) -> policy.CasePairs:
    return policy.CasePairs(
        step=[trial.change[share][i] for i in indices],
        control=[trial.control[i] for i in indices],
    )


def windows(stored: int, pairs: int) -> list[Batches]:
    """Disjoint first batches, each with the next one as its confirmation.

    >>> windows(5, 2)
    [([0, 1], [2, 3]), ([2, 3], [0, 1])]
    """
    batches = [list(range(i * pairs, (i + 1) * pairs)) for i in range(stored // pairs)]
    return [(batch, batches[(i + 1) % len(batches)]) for i, batch in enumerate(batches)]


@lru_cache(maxsize=8)
def _draws(stored: int, pairs: int) -> list[Batches]:
    rng = np.random.default_rng(0)
    wanted = min(2 * pairs, stored)
    drawn = [rng.permutation(stored)[:wanted].tolist() for _ in range(DRAWS)]
    return [(d[:pairs], d[-pairs:]) for d in drawn]


def _alarms(
    trials: Sequence[CaseTrials], apart: Sequence[Batches], drawn: Sequence[Batches]
) -> FalseAlarms:
    quiet = [NO_PLANT] * len(trials)
    gates = [_verdicts(trials, quiet, draw) for draw in drawn]
    flat = [verdict for gate in gates for verdict in gate]
    return proportion(
        FalseAlarms,
        [_is_red(_verdicts(trials, quiet, window)) for window in apart],
        drawn_gates=len(gates),
        drawn_rate=statistics.fmean(map(_is_red, gates)),
        drawn_inconclusive_cases=flat.count(policy.INCONCLUSIVE) / len(flat),
    )


def _power(
    trials: Sequence[CaseTrials], share: str, apart: Sequence[Batches], drawn: Sequence[Batches]
) -> Power:
    """How often a slow-down is seen: of one case alone, each in turn, and of all cases at once (a
    change of the model slows every step), where one case that is reported makes the gate red."""

    def seen(batches: Sequence[Batches]) -> list[bool]:
        found = []
        for number in range(len(trials)):
            shares = [NO_PLANT] * len(trials)
            shares[number] = share
            gates = (_verdicts(trials, shares, batch) for batch in batches)
            found += [gate[number] == policy.REGRESSED for gate in gates]
        return found

    everywhere = [share] * len(trials)
    return proportion(
        Power,
        seen(apart),
        effect=float(share),
        true_effect=statistics.fmean(math.expm1(x) for t in trials for x in t.truth[share]),
        rate=statistics.fmean(seen(drawn)),
        whole_gate_rate=statistics.fmean(
            _is_red(_verdicts(trials, everywhere, draw)) for draw in drawn
        ),
    )


def _coverage(
    trials: Sequence[CaseTrials], apart: Sequence[Batches], drawn: Sequence[Batches]
) -> Coverage:
    """How often the 95 % interval holds the planted truth.

    Counted over cases and gates that share no pair, one planted share each in turn: shares of one
    pair have their luck in common. The rate is over drawn gates and all shares.
    """
    shares = list(trials[0].change)
    # Per pair the truth differs a little: what is left of the change must centre on zero.
    rest = [
        {s: [c - t for c, t in zip(x.change[s], x.truth[s], strict=True)] for s in shares}
        for x in trials
    ]

    def holds(values: Sequence[float], batches: Batches) -> bool:
        low, high = signed_rank.interval([values[i] for i in batches[0]])
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
    ranks = [
        signed_rank.rank_of_bound(pairs, alpha) or 0
        for alpha in (policy.SCREEN_ALPHA / family, policy.CONFIRM_ALPHA)
    ]
    lows = []
    for batches in _draws(len(changes), pairs):
        bounds = (
            signed_rank.walsh_averages([changes[i] for i in batch])[rank]
            for batch, rank in zip(batches, ranks, strict=True)
        )
        lows.append(min(bounds))
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
