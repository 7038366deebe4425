"""Faults: real runs that are interrupted, run out of disk, memory or files, or lose their folder.

What was measured by then must be on the disk, and nothing else may be left: no process, no
worktree, no temporary file.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence

from tests.campaign.engine import Trial
from tests.campaign.options import files
from tests.campaign.programs import (
    ADVISE,
    BREAKDOWN,
    COMPARE,
    GATE,
    RUN,
    compare_kept,
    gate_kept,
    project,
    repository,
    run_kept,
    script,
    sweep,
    sweep_kept,
)
from tests.campaign.what_goes_wrong import (
    Before,
    after,
    closed_output,
    closed_pipe,
    everything_gone,
    file_limit,
    folder_gone,
    full_output,
    memory_limit,
    neighbours,
    refusing_disk,
    signalled,
    size_limit,
)

SLOW_S = 400.0
ANY_END = frozenset({"ok", "refused", "failed"})


def faults(rng: random.Random, count: int) -> Iterator[Trial]:
    """`count` faults over sweeps, gates, searches, breakdowns, runs and comparisons of scripts."""
    makers = list(_makers(rng))
    for number in range(count):
        maker = makers[number % len(makers)]
        yield maker(number)


def _makers(rng: random.Random) -> Iterator[Callable[[int], Trial]]:
    ends: tuple[tuple[str, tuple[int, ...]], ...] = (
        ("SIGINT", (signal.SIGINT,)),
        ("SIGTERM", (signal.SIGTERM,)),
        ("SIGHUP", (signal.SIGHUP,)),
        ("SIGTERM twice", (signal.SIGTERM, signal.SIGTERM)),
        ("SIGINT, SIGTERM", (signal.SIGINT, signal.SIGTERM)),
        ("SIGINT five times", (signal.SIGINT,) * 5),
    )
    for name, numbers in ends:
        gap_s = rng.choice((0.0, 0.05, 0.5))
        send = signalled(*numbers, gap_s=gap_s)
        yield _sweep(f"{name}", lambda send=send: after(rng.uniform(0.1, 3.5), send, of_sweep=True))  # type: ignore[misc]
        yield _gate(f"{name}", lambda send=send: after(rng.uniform(0.2, 14.0), send))  # type: ignore[misc]
        yield _other(ADVISE, name, lambda send=send: after(rng.uniform(0.2, 12.0), send))  # type: ignore[misc]
        yield _other(BREAKDOWN, name, lambda send=send: after(rng.uniform(0.2, 8.0), send))  # type: ignore[misc]
        yield _scripts(RUN, name, lambda send=send: after(rng.uniform(0.2, 7.0), send))  # type: ignore[misc]
        yield _scripts(COMPARE, name, lambda send=send: after(rng.uniform(0.2, 20.0), send))  # type: ignore[misc]
    for name, before in (
        ("closed pipe", closed_pipe),
        ("both closed pipes", lambda: closed_pipe(error_too=True)),
        ("full output", lambda: full_output),
        ("no output", lambda: closed_output),
        ("folder of results removed", lambda: after(rng.uniform(0.3, 3.0), folder_gone)),
        ("everything removed", lambda: after(rng.uniform(0.3, 3.0), everything_gone)),
        ("files of 4 KiB at most", lambda: size_limit(4096)),
        ("files of 100 KiB at most", lambda: size_limit(100_000)),
        ("40 open files", lambda: file_limit(40)),
        ("24 open files", lambda: file_limit(24)),
        ("300 MB of memory more", lambda: memory_limit(300_000_000)),
        ("40 MB of memory more", lambda: memory_limit(40_000_000)),
        ("a disk that refuses", refusing_disk),
    ):
        if name != "no output":  # pytest itself does not start without one
            yield _sweep(name, before)
        if name in CLOSED:
            yield _show(name, before)
    for name, before in (
        ("closed pipe", closed_pipe),
        ("24 open files", lambda: file_limit(24)),
        ("files of 4 KiB at most", lambda: size_limit(4096)),
        ("folder of results removed", lambda: after(rng.uniform(0.5, 9.0), folder_gone)),
        ("300 MB of memory more", lambda: memory_limit(300_000_000)),
    ):
        yield _gate(name, before)
        yield _other(ADVISE, name, before)
        yield _other(BREAKDOWN, name, before)
        yield _scripts(RUN, name, before)
        yield _scripts(COMPARE, name, before)
    yield _two_gates(rng)
    yield _sweep("a neighbour on every core", neighbours)
    yield _gate("a neighbour on every core", neighbours)
    yield _scripts(COMPARE, "a neighbour on every core", neighbours)


TWO_SIGNALS = ("SIGTERM twice", "SIGINT, SIGTERM")
"""The second may come when all is saved and Python ends."""
CLOSED = ("closed pipe", "both closed pipes", "full output", "no output")


def _sweep(name: str, before: Callable[[], Before]) -> Callable[[int], Trial]:
    return lambda number: Trial(
        name=f"sweep: {name} {number}",
        area="faults",
        commands=[[]],
        expect=ANY_END | {"killed"} if name in TWO_SIGNALS else ANY_END,
        prepare=project,
        before=before(),
        main=sweep,
        check=sweep_kept,
        timeout_s=SLOW_S,
    )


def _gate(name: str, before: Callable[[], Before]) -> Callable[[int], Trial]:
    return lambda number: Trial(
        name=f"gate: {name} {number}",
        area="faults",
        commands=[GATE],
        expect=ANY_END,
        prepare=repository,
        before=before(),
        check=gate_kept,
        timeout_s=SLOW_S,
    )


def _other(words: Sequence[str], name: str, before: Callable[[], Before]) -> Callable[[int], Trial]:
    return lambda number: Trial(
        name=f"{words[0]}: {name} {number}",
        area="faults",
        commands=[words],
        expect=ANY_END,
        timeout_s=SLOW_S,
        before=before(),
    )


def _scripts(
    words: Sequence[str], name: str, before: Callable[[], Before]
) -> Callable[[int], Trial]:
    return lambda number: Trial(
        name=f"{words[0]}: {name} {number}",
        area="faults",
        commands=[words],
        expect=ANY_END | {"killed"} if words is RUN else ANY_END,  # a script has its own signals
        prepare=script,
        before=before(),
        check=run_kept if words is RUN else compare_kept,
        timeout_s=SLOW_S,
    )


def _show(name: str, before: Callable[[], Before]) -> Callable[[int], Trial]:
    lines = (
        *(["show", "good.json"], ["report", "good.json", "--markdown"], ["device"]),
        *(["flops", "--preset", "gpt2"], ["validate", "good.json"], ["explain", "log.txt"]),
    )
    return lambda number: Trial(
        name=f"{lines[number % len(lines)][0]}: {name} {number}",
        area="faults",
        commands=[lines[number % len(lines)]],
        expect=ANY_END,
        prepare=files,
        before=before(),
    )


def _two_gates(rng: random.Random) -> Callable[[int], Trial]:
    """The second is told that the first one measures."""

    def hold() -> None:
        from mfubench.pairs.machine_lock import machine_lock

        child = os.fork()
        if child == 0:
            with machine_lock():
                time.sleep(4)
            os._exit(0)
        time.sleep(0.5)

    return lambda number: Trial(
        name=f"two gates at once {number}",
        area="faults",
        commands=[GATE],
        expect=frozenset({"refused"}),
        prepare=repository,
        before=hold,
    )
