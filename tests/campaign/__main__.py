"""`python -m tests.campaign`: try to break every command; a ledger of what came of it.

python -m tests.campaign --sample            a minute's worth
python -m tests.campaign                     all of it, about half an hour on two cores
python -m tests.campaign --only logs,faults  some areas
"""

from __future__ import annotations

import argparse
import collections
import gc
import json
import multiprocessing
import os
import random
import selectors
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.campaign import engine
from tests.campaign.areas import AREAS, load_everything

TOLD_EVERY = 250


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 when anything was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--only", default=",".join(AREAS), help=f"areas: {', '.join(AREAS)}")
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--sample", action="store_true", help="about a minute's worth")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--match", default="", help="only trials with this in their name")
    parser.add_argument("--ledger", type=Path, default=None, help="where to write the rows")
    given = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"  # two trials at once, with two threads each, wait for turns
    load_everything()
    gc.freeze()  # what is loaded is never looked at again, so that forks share it
    trials = []
    for area in given.only.split(","):
        found = list(AREAS[area](random.Random(f"{given.seed} {area}"), given.sample))
        trials += [trial for trial in found if given.match in trial.name]
    start_s = time.monotonic()
    rows = _run_all(trials, given.jobs)
    if given.ledger is not None:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        given.ledger.write_text(text, encoding="utf-8")
    print(summary(rows))
    print(f"{len(rows)} trials in {time.monotonic() - start_s:.0f} s, seed {given.seed}")
    return int(any(row["broken"] for row in rows))


def _run_all(trials: list[engine.Trial], jobs: int) -> list[dict[str, object]]:
    """The rows in the order of the trials; worker processes take turns. An interrupt ends them, and
    leaves the rows that there are."""
    next_one = multiprocessing.Value("i", 0)  # trials differ in length: who is free takes one
    workers = [_worker(trials, next_one) for _ in range(jobs)]
    found: dict[int, dict[str, object]] = {}
    try:
        for index, row in _as_they_come([reader for _, reader in workers]):
            found[index] = row
        missing = trials
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would lose the rows
        print(f"stopped after {len(found)} of {len(trials)} trials", flush=True)
        missing = []
    for pid, _ in workers:
        if not missing:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    lost: dict[str, object] = {"outcome": "lost", "broken": ["the worker died"], "s": 0.0}
    for index, trial in enumerate(missing):
        found.setdefault(index, {"area": trial.area, "trial": trial.name, **lost})
    return [row for _, row in sorted(found.items())]


def _worker(trials: list[engine.Trial], next_one: Synchronized[int]) -> tuple[int, int]:
    """A process that takes one trial after the other, and what its rows are read from."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    os.setpgid(0, 0)  # Ctrl-C is the parent's to handle
    os.close(reader)
    engine.adopt_orphans()
    with os.fdopen(writer, "w", encoding="utf-8") as file:
        while (index := _taken(next_one)) < len(trials):
            if index % TOLD_EVERY == 0:
                print(f"{index} of {len(trials)}", file=sys.stderr, flush=True)
            file.write(json.dumps([index, _told(trials[index])]) + "\n")
            file.flush()
    os._exit(0)


def _as_they_come(readers: Sequence[int]) -> Iterator[tuple[int, dict[str, object]]]:
    """Rows of all workers, until each has closed its end."""
    waiting = selectors.DefaultSelector()
    kept = dict.fromkeys(readers, b"")
    for reader in readers:
        waiting.register(reader, selectors.EVENT_READ)
    while waiting.get_map():
        for key, _ in waiting.select():
            data = os.read(key.fd, 2**16)
            if not data:
                waiting.unregister(key.fd)
            *lines, kept[key.fd] = (kept[key.fd] + data).split(b"\n")
            yield from map(json.loads, lines)


def _taken(next_one: Synchronized[int]) -> int:
    with next_one.get_lock():
        next_one.value += 1
        return next_one.value - 1


def _told(trial: engine.Trial) -> dict[str, object]:
    row = engine.run(trial)
    for text in row["broken"]:  # type: ignore[attr-defined]
        print(f"BROKEN {trial.area}: {trial.name}: {text}", flush=True)
    if "unclear" in row:
        print(f"unclear {trial.area}: {trial.name}: {row['unclear']}", flush=True)
    return row


def summary(rows: Sequence[dict[str, object]]) -> str:
    """The table of counts, in Markdown."""
    lines = ["| area | trials | answered | refused | other ends | broken | unclear |"]
    lines += ["|---|---:|---:|---:|---:|---:|---:|"]
    areas = list(dict.fromkeys(str(row["area"]) for row in rows))
    for area in [*areas, "all"]:
        mine = [row for row in rows if area in ("all", row["area"])]
        ends = collections.Counter(str(row["outcome"]) for row in mine)
        other = len(mine) - ends["ok"] - ends["refused"]
        broken = sum(bool(row["broken"]) for row in mine)
        unclear = sum("unclear" in row for row in mine)
        lines.append(
            f"| {area} | {len(mine)} | {ends['ok']} | {ends['refused']} | {other} | {broken} | "
            f"{unclear} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
