"""Pairs of new processes, one per variant, that take turns case by case."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mfubench.gate.measure import script_counts
from mfubench.gate.measure.cases import GateCase
from mfubench.gate.measure.variants import Variant
from mfubench.gate.rules.limits import Limits
from mfubench.gate.rules.policy import GRAPHS, LOSS, MEMORY, CasePairs, Metric, log_ratio
from mfubench.hardware.affinity import usable_cpus
from mfubench.pairs.child import Answer
from mfubench.pairs.fork_server import ForkServers
from mfubench.pairs.loop_side import profiled_in_turns
from mfubench.pairs.pairing import TurnPlan, TurnTaker, is_told, rounds_until, turn_plan
from mfubench.pairs.side import Side, SideError

WARM_STEPS, LOSS_STEPS = 3, 12
"""Steps before the turns; the first pair takes more, and compares the losses after them."""
IDLE_S = 0.005
"""After a turn, until its OpenMP threads sleep."""
SEED = 1337
PROFILED_BLOCKS = 5
BASE, CANDIDATE = "base", "candidate"
Beside = Callable[[], contextlib.AbstractContextManager[None]]
Takers = dict[str, TurnTaker[Side]]
T = TypeVar("T")


@dataclass
class PairBench:
    """Measures pairs of processes of two variants."""

    base: Variant
    candidate: Variant
    cache: Path
    corpus: Path | None = None
    turns: int | None = None
    """Of each side, per pair of processes and case; None: as many as `turn_plan` says."""
    beside: Beside = contextlib.nullcontext
    """What a self-test runs beside the turns of the candidate alone."""
    plants: Sequence[float] = ()
    """Shares of extra work in further turns of the candidate: for a self-test."""
    say: Callable[[str], None] = lambda _: None
    forks: ForkServers = field(default_factory=ForkServers)
    """Close them with the bench."""

    @property
    def _variants(self) -> dict[str, Variant]:
        return {BASE: self.base, CANDIDATE: self.candidate}

    def pair(self, cases: Sequence[GateCase], number: int) -> dict[str, Any]:
        """One pair of processes over all cases: per case what each side gave, or its failure.

        Which side comes first alternates by pair.
        """
        order = (BASE, CANDIDATE) if number % 2 == 0 else (CANDIDATE, BASE)
        found: dict[str, Any] = {}
        with contextlib.ExitStack() as stack:
            sides: dict[str, Side] = {}
            for case in cases:
                for name in order:  # both load torch at once
                    if name not in sides or sides[name].has_ended:
                        sides[name] = stack.enter_context(self._start(name, case))
                self.say(f"pair {number + 1}: {case.id}")
                found[case.id] = self._case(case, {name: sides[name] for name in order}, number)
        return {"number": number, "at_s": time.time(), "cases": found}

    def _case(self, case: GateCase, sides: dict[str, Side], number: int) -> dict[str, Any]:
        """`sides` in the order of their turns. A side that fails is named with its words."""
        started, errors = self._started(case, sides, number)
        if errors:
            return {"errors": errors}
        try:
            times = self._turns(sides, max(s["step_s"] for s in started.values()))
            counted = sides if number == 0 else {}
            for side in counted.values():
                side.tell({"count": True})
            counts = {name: side.hear() for name, side in counted.items()}
        except SideError as error:
            return {"errors": {error.side: error.words}}
        return {
            "times": times,
            "start": {n: {k: s[k] for k in ("start_up_s", "loss")} for n, s in started.items()},
            "is_cold": number == 0,
            "counts": counts,
            "compiled": case.is_compiled,
        }

    def _started(
        self, case: GateCase, sides: dict[str, Side], number: int
    ) -> tuple[dict[str, Answer], dict[str, str]]:
        """What each side says of its start, and the words of those that fail.

        Both build at once. What no cache has is compiled first, one after the other, so that the
        second finds what it shares with the first: that start-up is not compared.
        """
        errors: dict[str, str] = {}

        def each(ask: Callable[[str, Side], T]) -> dict[str, T]:
            found = {}
            for name in [name for name in sides if name not in errors]:
                try:
                    found[name] = ask(name, sides[name])
                except SideError as error:
                    errors[name] = error.words
            return found

        steps = LOSS_STEPS if number == 0 else WARM_STEPS
        each(lambda _, side: self._build(side, case))
        each(lambda name, side: self._variants[name].built(side))
        if number == 0 and case.is_compiled:
            each(lambda _, side: side.ask({"compile": usable_cpus()}))
            steps -= 1
        started = each(
            lambda name, side: side.ask(
                {
                    "start": steps,
                    "evaluates": case.evaluates,
                    "planted_memory_ratio": self._variants[name].planted_memory_ratio,
                }
            )
        )
        return started, errors

    def _start(self, name: str, case: GateCase) -> Side:
        return self._variants[name].start(case, self.forks, cache=self.cache, name=name)

    def _build(self, side: Side, case: GateCase) -> None:
        variant = self._variants[side.name]
        variant.build(side, case, corpus=self.corpus, cache=self.cache, seed=SEED)

    def _turns(self, sides: dict[str, Side], step_s: float) -> dict[str, Any]:
        """Turns in the order A B B A …, with the control kernel in each of them."""
        plan = turn_plan(step_s)
        if self.turns:
            plan = TurnPlan(self.turns, self.turns, plan.steps)

        def takers() -> Takers:
            return {name: TurnTaker(side, plan.steps, IDLE_S) for name, side in sides.items()}

        def told() -> bool:
            return is_told(*(one.each("step_s") for one in plain.values()))

        def take(takers: Takers, name: str, planted_ratio: float = 0.0) -> None:
            if name == BASE:
                takers[name].turn(control=True)
                return
            with self.beside():
                takers[name].turn(control=True, planted_ratio=planted_ratio)

        # Each share has a base turn of its own: a turn after one of the same process finds its
        # data in the cache, and would look faster than it is.
        plain, planted = takers(), {share: takers() for share in self.plants}
        for names in rounds_until(tuple(sides), plan, told):
            for name in names:
                take(plain, name)
            for share, one in planted.items():
                for name in names:
                    take(one, name, share)
        return {
            "step": {name: plain[name].each("step_s") for name in (BASE, CANDIDATE)},
            "control": {name: plain[name].each("control_s") for name in (BASE, CANDIDATE)},
            "planted": {
                f"{share:g}": {
                    "base": one[BASE].each("step_s"),
                    "step": one[CANDIDATE].each("step_s"),
                    "extra": one[CANDIDATE].each("extra_s"),
                }
                for share, one in planted.items()
            },
        }

    def bars(self, case: GateCase) -> dict[str, dict[str, float]]:
        """The bars of a case's step on each side, from profiles that take turns. Raises SideError,
        and ValueError where a profile holds no time."""
        with contextlib.ExitStack() as stack:
            sides = [stack.enter_context(self._start(name, case)) for name in self._variants]
            for side in sides:
                self._build(side, case)
            for side in sides:
                self._variants[side.name].built(side)
            typical = profiled_in_turns([side.bars for side in sides], PROFILED_BLOCKS)
        return dict(zip(self._variants, typical, strict=True))


def case_pairs(
    pairs: Sequence[dict[str, Any]], case_id: str, loss_tolerance: float = Limits().loss
) -> CasePairs:
    """What the policy judges, of one case."""
    whole = [p["cases"][case_id] for p in pairs if "times" in p["cases"].get(case_id, {})]
    step = [log_ratio(c["times"]["step"][CANDIDATE], c["times"]["step"][BASE]) for c in whole]
    control = [
        log_ratio(c["times"]["control"][CANDIDATE], c["times"]["control"][BASE]) for c in whole
    ]
    start_up = [
        math.log(c["start"][CANDIDATE]["start_up_s"] / c["start"][BASE]["start_up_s"])
        for c in whole
        if (c["compiled"] or "losses" in c)
        and not c["is_cold"]
        and min(c["start"][CANDIDATE]["start_up_s"], c["start"][BASE]["start_up_s"]) > 0
    ]
    if any("losses" in case for case in whole):
        exact, varied = script_counts.counted(whole, (BASE, CANDIDATE), loss_tolerance)
    else:
        exact, varied = _counted(whole), {}
    return CasePairs(step=step, control=control, start_up=start_up, counted=exact, varied=varied)


def _counted(whole: Sequence[dict[str, Any]]) -> dict[Metric, tuple[float, float]]:
    found: dict[Metric, tuple[float, float]] = {}
    for case in whole:
        start, counts = case["start"], case["counts"]
        if counts:
            found.setdefault(LOSS, (start[BASE]["loss"], start[CANDIDATE]["loss"]))
            base, candidate = counts[BASE], counts[CANDIDATE]
            if base["peak_bytes"] and candidate["peak_bytes"]:
                found.setdefault(MEMORY, (base["peak_bytes"], candidate["peak_bytes"]))
            if case["compiled"]:
                found.setdefault(GRAPHS, (base["graphs"], candidate["graphs"]))
    return found


def failures(pairs: Sequence[dict[str, Any]], case_id: str) -> Iterator[dict[str, str]]:
    """The failures of a case: the side and its words."""
    for pair in pairs:
        if errors := pair["cases"].get(case_id, {}).get("errors"):
            yield errors
