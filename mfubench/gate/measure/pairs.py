"""Pairs of fresh processes, one per side, that take turns case by case; each kept as it ends."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mfubench.analysis.bar_changes import typical
from mfubench.gate.measure.cases import GateCase, failed
from mfubench.gate.measure.sides import Side, SideWorker
from mfubench.gate.rules.policy import GRAPHS, LOSS, MEMORY, CasePairs, Metric, log_ratio
from mfubench.pairs.process import WorkerError

WARM_STEPS, LOSS_STEPS = 3, 12
"""Steps before the turns; the first pair takes more, and compares the losses after them."""
TURN_S, TURNS_S = 0.03, 0.7
"""A turn, and all turns of a side in one pair and case. The machine's speed changes within a tenth
of a second, so that many short turns tell far more than few long ones of the same total."""
LEAST_TURNS, MOST_TURNS = 6, 40
IDLE_S = 0.005
"""After a turn, until its OpenMP threads sleep."""
SEED = 1337
PROFILED_BLOCKS = 5
BASE, CANDIDATE = "base", "candidate"
Say = Callable[[str], None]
Beside = Callable[[], contextlib.AbstractContextManager[None]]


@dataclass
class PairJournal:
    """The pairs of one comparison on disk, a JSON line each; what is whole is read again."""

    path: Path | None
    pairs: list[dict[str, Any]] = field(default_factory=list)

    def load(self) -> None:
        """Read what an earlier run kept; a last line that was cut off is left out, and removed so
        that none is written behind it."""
        if self.path is None or not self.path.exists():
            return
        *lines, cut = self.path.read_bytes().split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):
                self.pairs.append(json.loads(line))
        if cut:
            with self.path.open("rb+") as file:
                file.truncate(sum(len(line) + 1 for line in lines))

    def add(self, pair: dict[str, Any]) -> None:
        """Keep a pair, at once."""
        self.pairs.append(pair)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(pair) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:  # of a write, which does not say where
                raise OSError(error.errno, error.strerror, str(self.path)) from None

    def finish(self) -> None:
        """The comparison is saved elsewhere."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


@dataclass
class PairBench:
    """Measures pairs of processes of two sides."""

    base: Side
    candidate: Side
    cache: Path
    corpus: Path | None = None
    turns: int | None = None
    """Of each side, per pair of processes and case; None: as many as `turn_plan` says."""
    beside: Beside = contextlib.nullcontext
    """What a self-test runs beside the turns of the candidate alone."""
    plants: Sequence[float] = ()
    """Shares of extra work in further turns of the candidate: for a self-test."""
    say: Say = lambda _: None

    def pair(self, cases: Sequence[GateCase], number: int) -> dict[str, Any]:
        """One pair of processes over all cases: per case what each side gave, or its failure.

        Which side comes first alternates by pair.
        """
        order = (BASE, CANDIDATE) if number % 2 == 0 else (CANDIDATE, BASE)
        sides = {BASE: self.base, CANDIDATE: self.candidate}
        found: dict[str, Any] = {}
        with contextlib.ExitStack() as stack:
            workers: dict[str, SideWorker] = {}
            for case in cases:
                for name in order:  # both load torch at once
                    if name not in workers or workers[name].has_ended:
                        workers[name] = stack.enter_context(sides[name].start(case))
                self.say(f"pair {number + 1}: {case.id}")
                found[case.id] = self._case(case, workers, order, number)
        return {"number": number, "at_s": time.time(), "cases": found}

    def _case(
        self, case: GateCase, workers: dict[str, SideWorker], order: tuple[str, str], number: int
    ) -> dict[str, Any]:
        started: dict[str, dict[str, Any]] = {}
        errors: dict[str, str] = {}
        for name in order:
            try:
                workers[name].build(case, corpus=self.corpus, cache=self.cache, seed=SEED)
                steps = LOSS_STEPS if number == 0 else WARM_STEPS
                started[name] = workers[name].ask({"start": steps})
            except WorkerError as error:
                errors[name] = failed(error)
        if errors:
            return {"errors": errors}
        try:
            times = self._turns(workers, order, max(s["step_s"] for s in started.values()))
            counts = {n: workers[n].ask({"count": True}) for n in order} if number < 1 else {}
        except WorkerError as error:
            dead = next((n for n in order if workers[n].has_ended), CANDIDATE)
            return {"errors": {dead: failed(error)}}
        return {
            "times": times,
            "start": {n: {k: s[k] for k in ("start_up_s", "loss")} for n, s in started.items()},
            "is_cold": number == 0,
            "counts": counts,
            "compiled": case.config.compile != "no",
        }

    def _turns(
        self, workers: dict[str, SideWorker], order: tuple[str, str], step_s: float
    ) -> dict[str, Any]:
        """Turns in the order A B B A …, with the control kernel in each of them."""
        step: dict[str, list[float]] = {BASE: [], CANDIDATE: []}
        control: dict[str, list[float]] = {BASE: [], CANDIDATE: []}
        planted: dict[str, dict[str, list[float]]] = {
            f"{share:g}": {"base": [], "step": [], "extra": []} for share in self.plants
        }
        turns, steps = turn_plan(step_s)

        def turn_of(name: str, **extra: float) -> dict[str, float]:
            with self.beside() if name == CANDIDATE else contextlib.nullcontext():
                answer: dict[str, float] = workers[name].ask({"turn": steps, **extra})
            time.sleep(IDLE_S)
            return answer

        for turn in range(self.turns or turns):
            names = order if turn % 2 == 0 else order[::-1]
            for name in names:
                answer = turn_of(name)
                step[name].append(answer["step_s"])
                control[name].append(answer["control_s"])
            # Each share has a base turn of its own: a turn after one of the same process finds its
            # data in the cache, and would look faster than it is.
            for share in self.plants:
                found = planted[f"{share:g}"]
                for name in names:
                    if name == BASE:
                        found["base"].append(turn_of(BASE)["step_s"])
                    else:
                        answer = turn_of(CANDIDATE, extra_ratio=share)
                        found["step"].append(answer["step_s"])
                        found["extra"].append(answer["extra_s"])
        return {"step": step, "control": control, "planted": planted}

    def bars(self, case: GateCase) -> dict[str, dict[str, float]]:
        """The bars of a case's step on each side, from profiles that take turns; raises
        WorkerError."""
        blocks: dict[str, list[dict[str, float]]] = {BASE: [], CANDIDATE: []}
        with contextlib.ExitStack() as stack:
            workers = {
                name: stack.enter_context(side.start(case))
                for name, side in ((BASE, self.base), (CANDIDATE, self.candidate))
            }
            for worker in workers.values():
                worker.build(case, corpus=self.corpus, cache=self.cache, seed=SEED)
            for _ in range(PROFILED_BLOCKS):
                for name, worker in workers.items():
                    blocks[name].append(worker.ask({"bars": True})["bars"])
        return {name: typical(found) for name, found in blocks.items()}


def turn_plan(step_s: float) -> tuple[int, int]:
    """How many turns of how many steps; turns are even, as their order is A B B A.

    >>> turn_plan(0.034), turn_plan(0.008), turn_plan(3.0)
    ((20, 1), (22, 4), (6, 1))
    """
    steps = max(1, round(TURN_S / max(step_s, 1e-6)))
    turns = 2 * round(TURNS_S / (2 * steps * max(step_s, 1e-6)))
    return min(max(turns, LEAST_TURNS), MOST_TURNS), steps


def case_pairs(pairs: Sequence[dict[str, Any]], case_id: str) -> CasePairs:
    """What the policy judges, of one case."""
    whole = [p["cases"][case_id] for p in pairs if "times" in p["cases"].get(case_id, {})]
    step = [log_ratio(c["times"]["step"][CANDIDATE], c["times"]["step"][BASE]) for c in whole]
    control = [
        log_ratio(c["times"]["control"][CANDIDATE], c["times"]["control"][BASE]) for c in whole
    ]
    start_up = [
        math.log(c["start"][CANDIDATE]["start_up_s"] / c["start"][BASE]["start_up_s"])
        for c in whole
        if c["compiled"]
        and not c["is_cold"]
        and min(c["start"][CANDIDATE]["start_up_s"], c["start"][BASE]["start_up_s"]) > 0
    ]
    return CasePairs(step=step, control=control, start_up=start_up, counted=_counted(whole))


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
