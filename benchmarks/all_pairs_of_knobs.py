"""Does `mfubench advise` find as much as an exhaustive search: every knob, and every pair of them?

    python -m benchmarks.all_pairs_of_knobs --ledger pairs.jsonl --hours 1
    python -m benchmarks.all_pairs_of_knobs --ledger pairs.jsonl --check 3 --budget 5m

The first line tries each knob alone, then all pairs of those that can be set together, the most
promising pair first. A knob that changes what is learnt must learn as much alone, or no pair has
it. Each result is a line of the ledger, written as it ends: stop it at any time and type the same
again. The second line repeats the best pairs, takes the best of them by the new figures, searches
so many times, and measures what each search found against that pair, in turns. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

from benchmarks.advise_of_scripts import search
from benchmarks.compare_trials import add, read
from mfubench.advise import trial
from mfubench.advise.advice import settings_of
from mfubench.advise.learning_check import LearningBench
from mfubench.analysis.effect import Effect, effect_over_processes
from mfubench.arguments import duration_s
from mfubench.knobs.bench import PROCESSES, KnobBench, nanogpt_baseline
from mfubench.knobs.catalogue import KNOBS, KNOBS_BY_NAME
from mfubench.knobs.knob import Knob
from mfubench.measure.loop_config import LoopConfig
from mfubench.pairs.pairing import FINE_TURN_S, ready
from mfubench.pairs.side import SideError

FINALISTS, ROUNDS = 5, 40

Names = tuple[str, ...]
Ledger = dict[Names, dict[str, Any]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ledger", type=Path, required=True, help="JSON lines")
    parser.add_argument("--hours", type=float, default=1.0, help="how long pairs are tried, about")
    parser.add_argument("--check", type=int, default=0, metavar="N", help="searches to check")
    parser.add_argument("--budget", type=duration_s, default=300.0, help="of each search")
    asked = parser.parse_args()
    bench = KnobBench(nanogpt_baseline("nanogpt-cpu", "cpu", threads=None))
    try:
        if asked.check:
            check(bench, of_ledger(asked.ledger), asked)
        else:
            measure(bench, asked)
    finally:
        bench.close()
    return 0


def of_ledger(ledger: Path) -> Ledger:
    """What was tried, by the names of the knobs."""
    return {tuple(line["knobs"]): line for line in read(ledger)}


# --- all of them ----------------------------------------------------------------------------------


def measure(bench: KnobBench, asked: argparse.Namespace) -> None:
    """Knobs alone, then pairs, until the time is over."""
    end_s = time.monotonic() + 3600 * asked.hours
    found, learning = of_ledger(asked.ledger), LearningBench(bench)

    def once(knobs: tuple[Knob, ...], learning: LearningBench | None = None) -> None:
        names = names_of(knobs)
        if names not in found:
            found[names] = tried(bench, knobs, learning)
            add(asked.ledger, found[names])
            print(json.dumps(found[names]), flush=True)

    for knob in KNOBS:
        if not knob.inapplicable(bench.machine) and bench.config_of(knob) != bench.base:
            once((knob,), learning)
    left = [pair for pair in pairs_of(bench, found) if names_of(pair) not in found]
    pairs = sorted(left, key=lambda pair: -of_singles(pair, found))
    for number, pair in enumerate(pairs):
        if time.monotonic() > end_s:
            best = of_singles(pair, found)
            print(f"{len(pairs) - number} pairs left; the best would be x{best:.3f}")
            return
        once(pair)
    print("all pairs are measured")


def pairs_of(bench: KnobBench, found: Ledger) -> Iterator[tuple[Knob, Knob]]:
    """Pairs that can be set together, of knobs that ran and learn as much."""
    alone = [line for names, line in found.items() if len(names) == 1]
    able = [KNOBS_BY_NAME[line["knobs"][0]] for line in alone if _counts(line)]
    for one, other in combinations(able, 2):
        settings = [settings_of(k.change(bench.base, bench.machine)) for k in (one, other)]
        if not settings[0] & settings[1]:
            yield one, other


def names_of(knobs: tuple[Knob, ...]) -> Names:
    return tuple(knob.name for knob in knobs)


def of_singles(pair: tuple[Knob, ...], found: Ledger) -> float:
    """What both would give if neither disturbed the other."""
    product: float = math.prod(found[(knob.name,)]["ratio"] for knob in pair)
    return product


def _counts(line: dict[str, Any]) -> bool:
    return line["ratio"] is not None and line["refusal"] is None


def tried(
    bench: KnobBench, knobs: tuple[Knob, ...], learning: LearningBench | None
) -> dict[str, Any]:
    """A line of the ledger."""
    names = names_of(knobs)
    since_s = time.monotonic()
    config = config_of(bench, names)
    found = trial.try_out(bench.turns_with(config))
    refusal = found.reason
    if learning and found.helps:
        refusal = loses(knobs, config, learning, bench)
    effect = found.effect
    return {
        "knobs": names,
        "ratio": effect and round(effect.ratio, 4),
        "low": effect and round(effect.low, 4),
        "high": effect and round(effect.high, 4),
        "refusal": refusal,
        "seconds": round(time.monotonic() - since_s, 1),
    }


def loses(
    knobs: tuple[Knob, ...], config: LoopConfig, learning: LearningBench, bench: KnobBench
) -> str | None:
    """Why a configuration may not be recommended: it learns less, by the rule of the search."""
    same_tokens = config.tokens_factor == bench.base.tokens_factor
    if same_tokens and not any(knob.changes_numerics for knob in knobs):
        return None
    try:
        return learning.compare(config).refusal("tokens")
    except SideError as error:
        return str(error)


def config_of(bench: KnobBench, names: Names) -> LoopConfig:
    config = bench.base
    for name in names:
        config = bench.config_of(KNOBS_BY_NAME[name], config)
    return config


# --- the best of them against the search ----------------------------------------------------------


def check(bench: KnobBench, found: Ledger, asked: argparse.Namespace) -> None:
    """The best of many estimates is the luckiest too: the first few are measured again."""
    finalists = sorted(filter(_counts, found.values()), key=lambda line: -line["ratio"])
    learning, again = LearningBench(bench), []
    for line in finalists:
        names = tuple(line["knobs"])
        config = config_of(bench, names)
        if refusal := loses(tuple(KNOBS_BY_NAME[n] for n in names), config, learning, bench):
            print(f"{' + '.join(names)}: {refusal}")
            continue
        effect = in_turns(bench, bench.base, config)
        again.append((effect.ratio, names))
        print(f"{' + '.join(names)}: x{line['ratio']:.3f} at first, {_words(effect)} again")
        if len(again) == FINALISTS:
            break
    ratio, best = max(again)
    print(f"best of {len(found)} tried: {' + '.join(best)}, x{ratio:.3f}")
    for _ in range(asked.check):
        found_config = LoopConfig.from_data(search(budget=f"{asked.budget:g}")["config"])
        effect = in_turns(bench, config_of(bench, best), found_config)
        print(f"what advise found: {_words(effect)} of the best pair")


def in_turns(bench: KnobBench, base: LoopConfig, candidate: LoopConfig) -> Effect:
    """As each would be typed, over pairs of fresh processes."""
    with contextlib.ExitStack() as stack:

        def ready_sides(config: LoopConfig) -> list[Any]:
            sides = bench.start_warm(config, PROCESSES, may_fork=False)
            return [ready(stack.enter_context(side), FINE_TURN_S) for side in sides]

        sides = (ready_sides(base), ready_sides(candidate))
        trial.take_shuffled([*sides[0], *sides[1]], ROUNDS)
        return effect_over_processes(trial.turns_of_pairs(*sides))


def _words(effect: Effect) -> str:
    return f"x{effect.ratio:.3f} ({effect.low:.3f} to {effect.high:.3f})"


if __name__ == "__main__":
    sys.exit(main())
