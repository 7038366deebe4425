"""Does the account of many ranks find delays and sleeps that are planted? On two ranks.

    python benchmarks/planted_ranks.py [delay|profile|sleep|quiet|contention] [--trials N]

Prints a line of JSON per trial and one at the end. It tests the mechanism, and says nothing of
scaling: two ranks on one small machine share everything. Nothing else may run on it meanwhile.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Callable
from functools import partial
from statistics import fmean, median
from typing import Any

from mfubench.analysis import signed_rank
from mfubench.ranks.measure.agent import launch
from mfubench.ranks.rules.account import LEAST_CYCLES, account_of, cycle_of, middle_of
from mfubench.ranks.rules.config import Plant, RanksConfig
from mfubench.ranks.rules.slow import lateness, slowest
from mfubench.ranks.rules.turns import BESIDE, TRAINING, RankReport

RANKS = 2
BATCH = 4
DELAY_S_PER_BYTE = 50e-9
"""A wire of 20 MB/s: 161 ms for the gradients of nanogpt-cpu, some of it beside the backward pass.
"""
SLEEP_S = 0.02
CYCLES = 16


def ask(plant: Plant | None, *, cycles: int = CYCLES, **settings: Any) -> list[RankReport]:
    """The reports of a case with a plant. Raises RuntimeError where a rank failed."""
    config = RanksConfig(
        preset="nanogpt-cpu",
        device="cpu",
        dtype="float32",
        batch_size=BATCH,
        cycles=cycles,
        with_collectives=False,
        with_profile=settings.pop("with_profile", False),
        plant=plant,
        **settings,
    )
    found = launch(config, RANKS)
    if found.reason is not None:
        raise RuntimeError(found.reason)
    return found.reports


def planted_s_of(reports: list[RankReport]) -> float:
    """Seconds per step of a planted wire that nothing can hide: the median turn of training."""
    turns = [t for r in reports for t in r.turns if t.kind == TRAINING]
    return median(t.planted_s for t in turns if t.planted_s is not None)


def delay() -> dict[str, Any]:
    """A wire that is slow in every other cycle: what ablation and DDP's counters make of it,
    against the sleep that came after the last gradient by the ranks' own clocks."""
    reports = ask(Plant(delay_s_per_byte=DELAY_S_PER_BYTE, every_other=True), cycles=2 * CYCLES)
    cycles = {n: cycle_of(reports, n) for n in range(2 * CYCLES)}
    exposed = {
        n: c.training_s - c.silent_s - c.waiting_s for n, c in cycles.items() if c is not None
    }
    pairs = [(n, n + 1) for n in range(0, 2 * CYCLES, 2) if n in exposed and n + 1 in exposed]
    grown = [exposed[slow] - exposed[plain] for slow, plain in pairs]
    turns = [t for r in reports for t in r.turns if t.kind == TRAINING]
    planted_s = planted_s_of(reports)
    counted = [
        median(t.counters_exposed_s or 0.0 for t in turns if t.cycle % 2 == odd) for odd in (0, 1)
    ]
    found_s, (low, high) = signed_rank.centre(grown), signed_rank.interval(grown)
    return {
        "what": "delay",
        "planted_s": planted_s,
        "by_ablation": found_s / planted_s,
        "by_ablation_low": low / planted_s,
        "by_ablation_high": high / planted_s,
        "by_counters": (counted[0] - counted[1]) / planted_s,
        "pairs": len(pairs),
    }


def profile() -> dict[str, Any]:
    """What a profile makes of the same wire: what it says with it less what it says without it,
    against the sleep after the last gradient in steps that were not profiled."""
    plain, slow = (
        ask(plant, cycles=LEAST_CYCLES, with_profile=True)
        for plant in (None, Plant(delay_s_per_byte=DELAY_S_PER_BYTE))
    )
    seen = [[r.profile_exposed_s for r in reports] for reports in (plain, slow)]
    plain_s, slow_s = (fmean(s for s in side if s is not None) for side in seen)
    planted_s = planted_s_of(slow)
    return {
        "what": "profile",
        "planted_s": planted_s,
        "without_s": plain_s,
        "by_profile": (slow_s - plain_s) / planted_s,
    }


def sleep(planted: bool) -> dict[str, Any]:
    """A rank that sleeps before each step, or none: who is named, and the skew."""
    reports = ask(Plant(rank=1, sleep_s=SLEEP_S) if planted else None)
    account, lates = account_of(reports), lateness(reports)
    late = slowest(lates)
    wanted = None
    if planted:  # of two ranks one waits for the whole of it: half of it on average
        wanted = 1 - SLEEP_S / 2 / account.step_s
    return {
        "what": "sleep" if planted else "quiet",
        "named": None if late is None else late.name,
        "rank_1_late_by": signed_rank.centre(lates[1]),
        "rank_1_slower_by_itself": (middle_of(reports[1], BESIDE) or math.nan)
        / (middle_of(reports[0], BESIDE) or math.nan)
        - 1,
        "skew": account.skew.value,
        "skew_of_the_sleep_alone": wanted,
        "step_s": account.step_s,
    }


def contention() -> dict[str, Any]:
    """Two ranks on a core each, beside two that share one core."""

    apart = account_of(ask(None)).contention
    cpus = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(cpus)})
        shared = account_of(ask(None)).contention
    finally:
        os.sched_setaffinity(0, cpus)
    return {
        "what": "contention",
        "apart": [apart.low, apart.value, apart.high],
        "shared": [shared.low, shared.value, shared.high],
        "told_apart": shared.high < apart.low,
    }


WHAT: dict[str, Callable[[], dict[str, Any]]] = {
    "delay": delay,
    "profile": profile,
    "sleep": partial(sleep, planted=True),
    "quiet": partial(sleep, planted=False),
    "contention": contention,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=tuple(WHAT))
    parser.add_argument("--trials", type=int, default=1)
    arguments = parser.parse_args()
    trials = []
    for _ in range(arguments.trials):
        trials.append(WHAT[arguments.what]())
        print(json.dumps(trials[-1]), flush=True)
    named = [trial.get("named") for trial in trials]
    summed = {"rank_1_named": named.count(1), "nobody_named": named.count(None)}
    print(json.dumps({"trials": len(trials), **summed}))


if __name__ == "__main__":
    main()
