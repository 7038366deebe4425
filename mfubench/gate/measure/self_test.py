"""The gate measured against itself: no change, planted changes, and a planted background load."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import psutil

from mfubench.gate.measure.cases import GateCase
from mfubench.gate.measure.pairs import Beside, PairBench
from mfubench.gate.measure.verdict_run import GIVE_UP_AFTER, Gate
from mfubench.gate.rules.case_trials import trials_of
from mfubench.gate.rules.document import Pair
from mfubench.gate.rules.policy import REGRESSED
from mfubench.gate.rules.rivals import rivals
from mfubench.pairs.journal import PairJournal

PLANTS = (0.02, 0.03, 0.05)
MEMORY_RATIO = 0.05
LOAD_S = 4.0
"""A planted load computes for this long and rests as long."""
_LOAD = """
import time, numpy as np
a = np.random.default_rng(0).random((400, 400))
while True:
    end = time.monotonic() + {period}
    while time.monotonic() < end:
        a @ a
    time.sleep({period})
"""


NO_LOAD, BOTH_SIDES, ONE_SIDE = "none", "both", "candidate"


@contextlib.contextmanager
def background_load() -> Iterator[psutil.Popen]:
    """One more program on the machine, which comes and goes; it never knows whose turn it is."""
    with psutil.Popen([sys.executable, "-c", _LOAD.format(period=LOAD_S)]) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def one_sided_load() -> Iterator[Beside]:
    """The same program beside the candidate's turns alone: the worst that a machine can do to a
    gate that compares turns."""
    with background_load() as process:
        process.suspend()

        @contextlib.contextmanager
        def beside() -> Iterator[None]:
            process.resume()
            try:
                yield
            finally:
                process.suspend()

        yield beside


def self_test(
    bench: PairBench,
    cases: Sequence[GateCase],
    journal: PairJournal,
    *,
    pairs: int,
    budget_s: float,
    load: str,
) -> dict[str, Any]:
    """Pairs without a change and with planted work, then one gate per other planted fault.

    Ends at `pairs`, or with the pair in which the budget ends.
    """
    start_s = time.perf_counter()
    with contextlib.ExitStack() as stack:
        if load == BOTH_SIDES:
            stack.enter_context(background_load())
        elif load == ONE_SIDE:
            bench = dataclasses.replace(bench, beside=stack.enter_context(one_sided_load()))
        for number in range(len(journal.pairs), pairs):
            if time.perf_counter() - start_s > budget_s:
                bench.say(f"the budget ends after {number} of {pairs} pairs")
                break
            journal.add(bench.pair(cases, number))
    faults = [] if load != NO_LOAD else _faults(bench, cases)
    trials = trials_of(msgspec.convert(journal.pairs, list[Pair]))
    return {
        "load": load,
        "plants": list(bench.plants),
        "faults": faults,
        "rivals": rivals(trials, [f"{share:g}" for share in bench.plants]),
        "spent_s": time.perf_counter() - start_s,
        "measured": journal.pairs,
    }


def _faults(bench: PairBench, cases: Sequence[GateCase]) -> list[dict[str, Any]]:
    """What is counted and not timed is planted once: one fault, one gate of few pairs."""
    plain = dataclasses.replace(bench, plants=())
    eager = next((c for c in cases if not c.evaluates and c.config.compile == "no"), None)
    compiled = next((c for c in cases if c.config.compile != "no"), None)
    planted: list[tuple[str, GateCase | None, dict[str, Any]]] = [
        ("another learning rate", eager, {"settings": {"schedule_scale": 2}}),
        ("a case that fails", eager, {"settings": {"cpus": (1 << 20,)}}),
        ("more memory", eager, {"planted_memory_ratio": MEMORY_RATIO}),
        ("compile lost", compiled, {"settings": {"compile": "no"}}),
    ]
    found = []
    for name, case, changes in planted:
        if case is None:
            continue
        bench.say(f"planted: {name}")
        tested = dataclasses.replace(
            plain, candidate=dataclasses.replace(plain.candidate, **changes)
        )
        gate = Gate(tested, [case], PairJournal(None), pairs=GIVE_UP_AFTER)
        (judged,) = gate.run()["cases"]
        found.append(
            {
                "fault": name,
                "case": case.id,
                "verdict": judged["verdict"],
                "reason": judged["reason"],
                "is_caught": judged["verdict"] == REGRESSED,
            }
        )
    return found
