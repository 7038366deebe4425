"""One gate: pairs of both sides until each case has its verdict, near ones the longest."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from msgspec.structs import asdict

from mfubench.analysis import signed_rank
from mfubench.analysis.bar_changes import largest_growth
from mfubench.gate.measure.pairs import BASE, CANDIDATE, case_pairs, failures
from mfubench.gate.rules import policy
from mfubench.gate.rules.limits import Limits, limits_for
from mfubench.pairs.journal import PairJournal
from mfubench.pairs.side import SideError

GIVE_UP_AFTER = 2
"""Pairs in which a side fails a case, before the case is measured no further."""


C = TypeVar("C", bound="Case")
Case_contra = TypeVar("Case_contra", bound="Case", contravariant=True)


class CouldNotRunError(RuntimeError):
    """A gate that cannot give a verdict, in one sentence."""


class Case(Protocol):
    """One case, of a loop of ours or a script of theirs."""

    @property
    def id(self) -> str:
        """Its name, for limits and texts."""

    @property
    def key(self) -> str:
        """What identifies it beside the code of both sides."""

    @property
    def timed_metrics(self) -> int:
        """How many of its metrics are times."""

    @property
    def has_bars(self) -> bool:
        """Whether a profile says to which bar its time went."""


class ComparedCode(Protocol):
    """One side of all cases."""

    @property
    def label(self) -> str:
        """What it is called."""

    def digest(self) -> str:
        """What identifies its code and settings."""

    def as_data(self) -> dict[str, Any]:
        """What the document says of it."""


class Bench(Protocol[Case_contra]):
    """What measures pairs of both sides."""

    @property
    def base(self) -> ComparedCode: ...
    @property
    def candidate(self) -> ComparedCode: ...
    @property
    def plants(self) -> Sequence[float]: ...
    @property
    def say(self) -> Callable[[str], None]: ...
    def pair(self, cases: Sequence[Case_contra], number: int) -> dict[str, Any]:
        """One pair of processes over all cases."""

    def bars(self, case: Case_contra) -> dict[str, dict[str, float]]:
        """The bars of a case's step on each side."""


@dataclass
class Gate(Generic[C]):
    """The measuring of one comparison and its judgement."""

    bench: Bench[C]
    cases: Sequence[C]
    journal: PairJournal
    pairs: int = policy.PAIRS
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The table `tool.mfubench.gate` with the command line's limits in it."""

    def run(self) -> dict[str, Any]:
        """The body of a gate's document. Raises CouldNotRunError when the base runs no case.

        An interrupt leaves every whole pair in the journal.
        """
        start_s = time.perf_counter()
        open_cases, done = list(self.cases), 0
        for look in self._looks:
            if done:
                self.bench.say(f"more pairs of what is near: {len(open_cases)} cases")
            self._batch(open_cases, range(done, look))
            self._refuse_without_base()
            open_cases = [case for case in open_cases if self._is_open(case)]
            if not open_cases:
                break
            done = look
        judged = [self._judged(case) for case in self.cases]
        for case, one in zip(self.cases, judged, strict=True):
            one["bar"] = self._grown_bar(case, one)
        verdicts = [one["verdict"] for one in judged]
        verdict = policy.worst(verdicts, slower_fails=self._slower_fails)
        return {
            "base": self.bench.base.as_data(),
            "candidate": self.bench.candidate.as_data(),
            "pairs": self.pairs,
            "looks": self._looks,
            "limits": asdict(limits_for("", self.settings)),
            "within_tolerance": "fail" if self._slower_fails else "pass",
            "verdict": verdict,
            "exit_status": policy.exit_status(verdict, slower_fails=self._slower_fails),
            "cases": judged,
            "spent_s": time.perf_counter() - start_s,
            "measured": self.journal.pairs,
        }

    @property
    def _looks(self) -> list[int]:
        return policy.looks_of(self.pairs)

    @property
    def _slower_fails(self) -> bool:
        return bool(self.settings.get("within_tolerance", "fail") == "fail")

    # --- measuring ------------------------------------------------------------------------------

    def _batch(self, cases: Sequence[C], numbers: range) -> None:
        """The pairs of a batch that are not in the journal yet."""
        done = {pair["number"] for pair in self.journal.pairs}
        for number in numbers:
            if number in done:
                continue
            left = [case for case in cases if not self._is_hopeless(case)]
            if not left:
                return
            self.journal.add(self.bench.pair(left, number))
            self._refuse_if_neither_runs()

    def _failed(self, case: C, side: str) -> list[str]:
        return [e[side] for e in failures(self.journal.pairs, case.id) if side in e]

    def _is_hopeless(self, case: C) -> bool:
        return any(len(self._failed(case, side)) >= GIVE_UP_AFTER for side in (BASE, CANDIDATE))

    def _is_open(self, case: C) -> bool:
        metrics = self._metrics(case)
        is_near = any(one.is_open for one in metrics)
        is_red = any(one.verdict == policy.REGRESSED and not one.is_open for one in metrics)
        return is_near and not is_red and not self._is_hopeless(case)

    def _refuse_without_base(self) -> None:
        words = [self._failed(case, BASE) for case in self.cases]
        if all(len(found) >= GIVE_UP_AFTER for found in words):
            self.journal.finish()  # no pair in it could be used again
            raise CouldNotRunError(
                f"{self.bench.base.label} runs none of the cases: {words[0][0]}. Choose another "
                "base with --base REV"
            )

    def _refuse_if_neither_runs(self) -> None:
        """The first pair is enough where both sides fail every case in it: it is not the change."""
        if len(self.journal.pairs) > 1:
            return
        both = [
            [words for side in (BASE, CANDIDATE) for words in self._failed(case, side)[:1]]
            for case in self.cases
        ]
        if all(len(found) == 2 for found in both):
            self.journal.finish()
            raise CouldNotRunError(f"neither side runs any of the cases: {both[0][1]}")

    # --- judging --------------------------------------------------------------------------------

    @property
    def _family(self) -> int:
        """Timed metrics that are judged together."""
        return sum(case.timed_metrics for case in self.cases)

    def _limits(self, case: C) -> Limits:
        return limits_for(case.id, self.settings)

    def _metrics(self, case: C) -> list[policy.Judged]:
        """What the pairs of a case say, at the last look that it reached."""
        measured = sum(case.id in pair["cases"] for pair in self.journal.pairs)
        looks = [look for look in self._looks if look <= measured] or [measured or 1]
        return policy.judge_case(
            case_pairs(self.journal.pairs, case.id, self._limits(case).loss),
            self._limits(case),
            family=self._family,
            looks=looks,
            most=max(self._looks[-1], looks[-1]),
        )

    def _judged(self, case: C) -> dict[str, Any]:
        metrics = [one for one in self._metrics(case) if one.pairs]
        verdict = policy.worst([one.verdict for one in metrics], slower_fails=self._slower_fails)
        reason = next(
            (one.reason for one in metrics if one.verdict == verdict and one.reason), None
        )
        base, candidate = self._failed(case, BASE), self._failed(case, CANDIDATE)
        if candidate and len(candidate) >= GIVE_UP_AFTER and not base:
            verdict, reason = policy.REGRESSED, f"the candidate fails: {candidate[0]}"
        elif base or candidate:
            who = "neither side runs it" if base and candidate else "a side failed"
            who = "new: the base does not run it" if len(base) >= GIVE_UP_AFTER else who
            verdict = policy.worst([verdict, policy.INCONCLUSIVE], slower_fails=self._slower_fails)
            reason = f"{who}: {(base or candidate)[0]}"
        control = case_pairs(self.journal.pairs, case.id, self._limits(case).loss).control
        return {
            "id": case.id,
            "verdict": verdict,
            "reason": reason,
            "metrics": [asdict(one) for one in metrics],
            "control": _interval(control),
            "bar": None,
        }

    def _grown_bar(self, case: C, one: Mapping[str, Any]) -> dict[str, Any] | None:
        """The bar that a slower step's time went to, from a profile of each side."""
        slower = any(
            m["metric"] == policy.STEP and m["verdict"] in (policy.REGRESSED, policy.SLOWER)
            for m in one["metrics"]
        )
        if not slower or not case.has_bars:
            return None
        self.bench.say(f"looking for the bar that grew: {case.id}")
        try:
            bars = self.bench.bars(case)
        except (SideError, ValueError):
            return None
        return largest_growth(bars[BASE], bars[CANDIDATE])


def _interval(logs: Sequence[float]) -> dict[str, float | None] | None:
    if not logs:
        return None
    low, high = signed_rank.interval(logs)
    return {
        "change": math.expm1(signed_rank.centre(logs)),
        "low": math.expm1(low) if math.isfinite(low) else None,
        "high": math.expm1(high) if math.isfinite(high) else None,
    }


def comparison_key(bench: Bench[C], cases: Sequence[C]) -> str:
    """What identifies a comparison, so that pairs of another one are never taken for its own."""
    text = [bench.base.digest(), bench.candidate.digest(), str(bench.plants)]
    text += [case.key for case in cases]
    return hashlib.sha256("\n".join(text).encode()).hexdigest()[:16]
