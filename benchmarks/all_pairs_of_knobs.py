"""Does `mfubench advise` find as much as an exhaustive search: every knob, and every pair of them?

    python benchmarks/all_pairs_of_knobs.py --ledger pairs.jsonl --hours 1
    python benchmarks/all_pairs_of_knobs.py --ledger pairs.jsonl --check 3 --budget 5m

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
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

from mfubench.advise import trial
from mfubench.advise.advice import settings_of
from mfubench.advise.learning_check import LearningBench
from mfubench.analysis.effect import Effect
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
    parser.add_argument("--budget", default="5m", help="of each search")
    asked = parser.parse_args()
    bench = KnobBench(nanogpt_baseline("nanogpt-cpu", "cpu", threads=None))
    try:
        if asked.check:
            check(bench, read(asked.ledger), asked)
        else:
            measure(bench, asked)
    finally:
        bench.close()
    return 0


def read(ledger: Path) -> Ledger:
    """What was tried, by the names of the knobs."""
    lines = ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else []
    return {tuple(line["knobs"]): line for line in map(json.loads, lines)}


# --- all of them ----------------------------------------------------------------------------------


def measure(bench: KnobBench, asked: argparse.Namespace) -> None:
    """Knobs alone, then pairs, until the time is over."""
    end_s = time.monotonic() + 3600 * asked.hours
    learning = LearningBench(bench)
    for knob in KNOBS:
        if not knob.inapplicable(bench.machine) and bench.config_of(knob) != bench.base:
            tried(bench, (knob,), asked.ledger, learning)
    found = read(asked.ledger)
    pairs = sorted(pairs_of(bench, found), key=lambda pair: -of_singles(pair, found))
    for number, pair in enumerate(pairs):
        if time.monotonic() > end_s:
            left = len(pairs) - number
            print(f"{left} pairs left; the best would be x{of_singles(pair, found):.3f}")
            return
        tried(bench, pair, asked.ledger)
    print(f"all {len(pairs)} pairs are measured")


def pairs_of(bench: KnobBench, found: Ledger) -> Iterator[tuple[Knob, Knob]]:
    """Pairs that can be set together, of knobs that ran and learn as much."""
    alone = [line for names, line in found.items() if len(names) == 1]
    able = [KNOBS_BY_NAME[line["knobs"][0]] for line in alone if _counts(line)]
    for one, other in combinations(able, 2):
        settings = [settings_of(k.change(bench.base, bench.machine)) for k in (one, other)]
        if not settings[0] & settings[1]:
            yield one, other


def of_singles(pair: tuple[Knob, ...], found: Ledger) -> float:
    """What both would give if neither disturbed the other."""
    product = 1.0
    for knob in pair:
        product *= found[(knob.name,)]["ratio"]
    return product


def _counts(line: dict[str, Any]) -> bool:
    return line["ratio"] is not None and line["refusal"] is None


def tried(
    bench: KnobBench, knobs: tuple[Knob, ...], ledger: Path, learning: LearningBench | None = None
) -> None:
    """One more line, unless there is one."""
    names = tuple(knob.name for knob in knobs)
    if names in read(ledger):
        return
    since_s = time.monotonic()
    config = config_of(bench, names)
    # Of hundreds of pairs the best few are measured again: an unclear one gets no more turns.
    found = trial.try_out(bench.turns_with(config), has_time=lambda: learning is not None)
    refusal = found.reason
    if learning and found.helps:
        refusal = loses(knobs, config, learning, bench)
    effect = found.effect
    line = {
        "knobs": names,
        "ratio": effect and round(effect.ratio, 4),
        "low": effect and round(effect.low, 4),
        "high": effect and round(effect.high, 4),
        "refusal": refusal,
        "seconds": round(time.monotonic() - since_s, 1),
    }
    with ledger.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line), flush=True)


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
        knobs, config = search(asked.budget)
        effect = in_turns(bench, config_of(bench, best), config)
        print(f"advise found {' + '.join(knobs) or 'nothing'}: {_words(effect)} of the best pair")


def in_turns(bench: KnobBench, base: LoopConfig, candidate: LoopConfig) -> Effect:
    """As each would be typed, over pairs of fresh processes."""
    with contextlib.ExitStack() as stack:

        def ready_sides(config: LoopConfig) -> list[Any]:
            sides = bench.start_warm(config, PROCESSES, may_fork=False)
            return [ready(stack.enter_context(side), FINE_TURN_S) for side in sides]

        return trial.verification_of(
            ready_sides(base), ready_sides(candidate), rounds=ROUNDS
        ).effect


def _words(effect: Effect) -> str:
    return f"x{effect.ratio:.3f} ({effect.low:.3f} to {effect.high:.3f})"


def search(budget: str) -> tuple[list[str], LoopConfig]:
    """What `mfubench advise` recommends, and its configuration."""
    duration_s(budget)  # refuse it before anything is measured
    with tempfile.TemporaryDirectory(prefix="mfubench-advise-") as folder:
        words = ["advise", "--json", "--budget", budget, "--results-dir", folder]
        typed = [sys.executable, "-m", "mfubench", *words]
        done = subprocess.run(typed, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    answer = json.loads(done.stdout)
    return answer["knobs"], LoopConfig.from_data(answer["config"])


if __name__ == "__main__":
    sys.exit(main())
