"""A run judged against stored runs of the same machine.

Between two sessions the whole machine drifts, and no turn-taking cancels it: the error of a change
is what sessions of this machine differ by, from its history. Two references are judged, the newest
baseline and a pinned anchor, so that five slides of 4 % do not pass one by one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from mfubench.gate.rules import policy
from mfubench.gate.rules.limits import Limits, limits_for

LEAST_SESSIONS = 5
"""Stored runs from which the spread between sessions is known well enough to judge by."""
ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVerdict:
    """One case against one reference."""

    case_id: str
    reference: str
    verdict: policy.Verdict
    change: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


def judge_stored(
    case_id: str,
    rounds_s: Sequence[float],
    reference_s: Sequence[float],
    history: Sequence[Sequence[float]],
    *,
    reference: str,
    limits: Limits,
    family: int,
) -> StoredVerdict:
    """A case's rounds against a reference's, by the spread of the medians of earlier sessions.

    >>> quiet = [[1.0, 1.0], [1.002, 1.002], [0.998, 0.998], [1.001, 1.001], [0.999, 0.999]]
    >>> judge = lambda s: judge_stored("x", [s], [1.0], quiet, reference="baseline",
    ...                                limits=Limits(), family=1).verdict
    >>> judge(1.001), judge(1.10), judge(0.9)
    ('pass', 'regressed', 'improved')
    """
    from scipy import stats  # most of a second, which a run without a baseline need not wait for

    change = math.log(statistics.median(rounds_s) / statistics.median(reference_s))
    about: dict[str, Any] = {"case_id": case_id, "reference": reference}
    if len(history) < LEAST_SESSIONS:
        return StoredVerdict(
            **about,
            verdict=policy.INCONCLUSIVE,
            change=math.expm1(change),
            reason=f"{len(history)} stored sessions; {LEAST_SESSIONS} say what sessions differ by",
        )
    spread = statistics.stdev(math.log(statistics.median(session)) for session in history)
    freedom = len(history) - 1
    error = spread * math.sqrt(2)  # both sides are one session

    def bound(alpha: float) -> float:
        return float(stats.t.ppf(1 - alpha, freedom)) * error

    alarm, passing, both = bound(ALPHA / family), bound(ALPHA), bound(0.025)
    verdict: policy.Verdict = policy.INCONCLUSIVE
    reason = None
    if change - alarm > math.log1p(limits.floor):
        verdict = policy.REGRESSED
    elif change + alarm < -math.log1p(limits.floor):
        verdict = policy.IMPROVED
    elif change + passing < math.log1p(limits.tolerance):
        verdict = policy.PASS
    else:
        reason = (
            f"sessions of this machine differ by {spread * 100:.1f} % (SD): mfubench gate sees more"
        )
    return StoredVerdict(
        **about,
        verdict=verdict,
        change=math.expm1(change),
        low=math.expm1(change - both),
        high=math.expm1(change + both),
        reason=reason,
    )


def judge_run(
    run: Mapping[str, Sequence[float]],
    baseline: Mapping[str, Sequence[float]],
    anchor: Mapping[str, Sequence[float]],
    history: Sequence[Mapping[str, Sequence[float]]],
    *,
    settings: Mapping[str, Any],
    not_measured: Mapping[str, str] | None = None,
    marked: Mapping[str, Mapping[str, float]] | None = None,
) -> list[StoredVerdict]:
    """Every case of the run and of the baseline, each by its id and its rounds in seconds.

    What the baseline has and the run lacks is inconclusive, or regressed where it was tried and
    failed; so is a case that is new: nothing says that it is no slower. What a test's marker allows
    (`marked`) comes before `settings`.
    """
    family = max(1, len({*run, *baseline}))
    found = []
    for case_id in dict.fromkeys([*baseline, *run]):
        about: dict[str, Any] = {"case_id": case_id, "reference": "baseline"}
        if case_id not in run:
            outcome = (not_measured or {}).get(case_id)
            if outcome is None:
                about |= {"verdict": policy.INCONCLUSIVE, "reason": "missing from this run"}
            else:
                about |= {"verdict": policy.REGRESSED, "reason": f"not measured now: {outcome}"}
            found.append(StoredVerdict(**about))
            continue
        if case_id not in baseline:
            reason = "new: the baseline has no such case"
            found.append(StoredVerdict(**about, verdict=policy.INCONCLUSIVE, reason=reason))
            continue
        sessions = [session[case_id] for session in history if case_id in session]
        limits = replace(limits_for(case_id, settings), **(marked or {}).get(case_id, {}))
        references = {"baseline": baseline} | ({"anchor": anchor} if case_id in anchor else {})
        found += [
            judge_stored(
                case_id,
                run[case_id],
                rounds[case_id],
                sessions,
                reference=name,
                limits=limits,
                family=family,
            )
            for name, rounds in references.items()
        ]
    return found
