"""One gate: pairs of both sides, a fresh batch for what looks slower, a verdict for each case."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import asdict

from mfubench.analysis import signed_rank
from mfubench.analysis.bar_changes import largest_growth
from mfubench.gate.measure.cases import GateCase
from mfubench.gate.measure.pairs import BASE, CANDIDATE, PairBench, case_pairs, failures
from mfubench.gate.rules import policy
from mfubench.gate.rules.limits import limits_for
from mfubench.pairs.journal import PairJournal
from mfubench.pairs.side import SideError

CONFIRMATION = 1000
"""Pairs of the fresh batch are numbered from here."""
GIVE_UP_AFTER = 2
"""Pairs in which a side fails a case, before the case is measured no further."""


class CouldNotRunError(RuntimeError):
    """A gate that cannot give a verdict, in one sentence."""


@dataclass
class Gate:
    """The measuring of one comparison and its judgement."""

    bench: PairBench
    cases: Sequence[GateCase]
    journal: PairJournal
    pairs: int = policy.PAIRS
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The table `tool.mfubench.gate` with the command line's limits in it."""

    def run(self) -> dict[str, Any]:
        """The body of a gate's document. Raises CouldNotRunError when the base runs no case.

        An interrupt leaves every whole pair in the journal.
        """
        start_s = time.perf_counter()
        self._batch(self.cases, range(self.pairs))
        self._refuse_without_base()
        screened = [self._metrics(case) for case in self.cases]
        chosen = policy.to_confirm(screened)
        flagged = sum(one.needs_confirmation for number in chosen for one in screened[number])
        if chosen:
            self.bench.say(f"a fresh batch of pairs of what looks slower: {len(chosen)} cases")
            slower = [self.cases[number] for number in chosen]
            self._batch(slower, range(CONFIRMATION, CONFIRMATION + self.pairs))
        judged = [self._judged(case, flagged) for case in self.cases]
        for case, one in zip(self.cases, judged, strict=True):
            one["bar"] = self._grown_bar(case, one)
        verdict = policy.worst([one["verdict"] for one in judged])
        return {
            "base": self.bench.base.as_data(),
            "candidate": self.bench.candidate.as_data(),
            "pairs": self.pairs,
            "limits": asdict(limits_for("", self.settings)),
            "verdict": verdict,
            "exit_status": policy.EXIT_STATUS[verdict],
            "cases": judged,
            "spent_s": time.perf_counter() - start_s,
            "measured": self.journal.pairs,
        }

    # --- measuring ------------------------------------------------------------------------------

    def _batch(self, cases: Sequence[GateCase], numbers: range) -> None:
        """The pairs of a batch that are not in the journal yet."""
        done = {pair["number"] for pair in self.journal.pairs}
        for number in numbers:
            if number in done:
                continue
            left = [case for case in cases if not self._is_hopeless(case)]
            if not left:
                return
            self.journal.add(self.bench.pair(left, number))

    def _failed(self, case: GateCase, side: str) -> list[str]:
        return [e[side] for e in failures(self.journal.pairs, case.id) if side in e]

    def _is_hopeless(self, case: GateCase) -> bool:
        return any(len(self._failed(case, side)) >= GIVE_UP_AFTER for side in (BASE, CANDIDATE))

    def _refuse_without_base(self) -> None:
        words = [self._failed(case, BASE) for case in self.cases]
        if all(len(found) >= GIVE_UP_AFTER for found in words):
            self.journal.finish()  # no pair in it could be used again
            raise CouldNotRunError(
                f"{self.bench.base.label} runs none of the cases: {words[0][0]}. Choose another "
                "base with --base REV"
            )

    # --- judging --------------------------------------------------------------------------------

    @property
    def _family(self) -> int:
        """Timed metrics that are judged together: a step per case, a start-up per compiled one."""
        return len(self.cases) + sum(case.config.compile != "no" for case in self.cases)

    def _pairs_of(self, case: GateCase) -> tuple[policy.CasePairs, policy.CasePairs | None]:
        first = [p for p in self.journal.pairs if p["number"] < CONFIRMATION]
        fresh = [
            p for p in self.journal.pairs if p["number"] >= CONFIRMATION and case.id in p["cases"]
        ]
        return case_pairs(first, case.id), case_pairs(fresh, case.id) if fresh else None

    def _metrics(self, case: GateCase, flagged: int | None = None) -> list[policy.Judged]:
        """What the first batch says; with `flagged`, the metrics that it flagged in all cases, what
        both batches say."""
        first, fresh = self._pairs_of(case)
        return policy.judge_case(
            first,
            limits_for(case.id, self.settings),
            family=self._family,
            confirmation=None if flagged is None else fresh,
            flagged=flagged or 1,
        )

    def _judged(self, case: GateCase, flagged: int) -> dict[str, Any]:
        metrics = [policy.left_open(one) for one in self._metrics(case, flagged) if one.pairs]
        verdict = policy.worst([one.verdict for one in metrics])
        reason = next(
            (one.reason for one in metrics if one.verdict == verdict and one.reason), None
        )
        base, candidate = self._failed(case, BASE), self._failed(case, CANDIDATE)
        if candidate and len(candidate) >= GIVE_UP_AFTER and not base:
            verdict, reason = policy.REGRESSED, f"the candidate fails: {candidate[0]}"
        elif base or candidate:
            who = "neither side runs it" if base and candidate else "a side failed"
            who = "new: the base does not run it" if len(base) >= GIVE_UP_AFTER else who
            verdict = policy.worst([verdict, policy.INCONCLUSIVE])
            reason = f"{who}: {(base or candidate)[0]}"
        first, fresh = self._pairs_of(case)
        control = [*first.control, *(fresh.control if fresh else ())]
        return {
            "id": case.id,
            "verdict": verdict,
            "reason": reason,
            "metrics": [asdict(one) for one in metrics],
            "control": _interval(control),
            "bar": None,
        }

    def _grown_bar(self, case: GateCase, one: Mapping[str, Any]) -> dict[str, Any] | None:
        """The bar that a slower step's time went to, from a profile of each side."""
        slower = any(
            m["metric"] == policy.STEP and m["verdict"] == policy.REGRESSED for m in one["metrics"]
        )
        if not slower or case.evaluates or case.config.compile != "no":
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


def comparison_key(bench: PairBench, cases: Sequence[GateCase]) -> str:
    """What identifies a comparison, so that pairs of another one are never taken for its own."""
    text = [bench.base.digest(), bench.candidate.digest(), str(bench.plants)]
    text += [f"{case.id} {case.config} {case.evaluates}" for case in cases]
    return hashlib.sha256("\n".join(text).encode()).hexdigest()[:16]
