"""Whatever a program launches, the account of its trace is the truth.

A simulated host launches work into streams of a simulated device: launch costs, waits, data, other
ranks, graphs, copies, steps; records of launches and of kernels get lost. The truth is painted
microsecond by microsecond from what the simulator knows, by another way than the account's.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mfubench.analysis.intervals import difference, exclusive, intersection, total, union
from mfubench.trace import idle
from mfubench.trace.build import trace_account
from tests.trace_builder import TraceBuilder

NAMES = {
    "gemm": "ampere_sgemm_128x64_nn",
    "activation": "GeluCUDAKernelImpl",
    "communication": "ncclDevKernel_AllReduce_Sum_f32_RING_LL",
    "copies": "Memcpy DtoD (Device -> Device)",
}
ORDER = {"gemm": 0, "activation": 0, "unlinked": 1, "communication": 2, "copies": 3}
WAITS = {
    idle.SYNC: "cudaStreamSynchronize",
    idle.DATA: "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__",
    idle.RANKS: "gloo:barrier",
}


@dataclass
class Work:
    """A kernel as the simulated device ran it."""

    kind: str
    start: int
    end: int
    launch: tuple[int, int]
    is_linked: bool
    in_graph: bool


@dataclass
class Simulation:
    """One host thread and a device; microseconds."""

    at: int = 0
    free: dict[int, int] = field(default_factory=dict)
    work: list[Work] = field(default_factory=list)
    lost: list[tuple[int, int]] = field(default_factory=list)
    waiting: list[tuple[int, int, str]] = field(default_factory=list)
    trace: TraceBuilder = field(default_factory=TraceBuilder)

    def wait(self, reason: str, length: int) -> None:
        start = self.at
        done = max(self.free.values(), default=0) if reason == idle.SYNC else 0
        self.at = max(start, done) + length
        if reason == idle.SYNC:
            self.trace.call(WAITS[reason], start, self.at)
        else:
            self.trace.range(WAITS[reason], start, self.at)
        self.waiting.append((start, self.at, reason))

    def launch(
        self, kinds: list[tuple[str, int]], cost: int, stream: int, *, graph: bool, record: str
    ) -> None:
        """One call and what it starts; `record` says what the profiler loses of it."""
        call = (self.at, self.at + cost)
        self.at += cost
        correlation = self.trace._new_id()
        if record != "launch lost":
            by = "cudaGraphLaunch" if graph else "cudaLaunchKernel"
            self.trace.call(by, *call, correlation=correlation)
        if record == "kernel lost":
            self.lost.append(call)
        for kind, length in kinds:
            start = max(call[1], self.free.get(stream, 0))
            self.free[stream] = start + length
            if record == "kernel lost":
                continue
            category = "gpu_memcpy" if kind == "copies" else "kernel"
            self.trace.device_event(
                NAMES[kind],
                start,
                start + length,
                stream=stream,
                correlation=correlation,
                category=category,
            )
            linked = record != "launch lost"
            self.work.append(Work(kind, start, start + length, call, linked, graph))


kernels = st.tuples(st.sampled_from(sorted(NAMES)), st.integers(1, 12))
actions = st.one_of(
    st.tuples(st.just("python"), st.integers(1, 9)),
    st.tuples(st.just("wait"), st.sampled_from(sorted(WAITS)), st.integers(1, 9)),
    st.tuples(st.just("launch"), kernels, st.integers(1, 4), st.integers(7, 9), st.just("whole")),
    st.tuples(
        st.just("launch"),
        kernels,
        st.integers(1, 4),
        st.integers(7, 9),
        st.sampled_from(["launch lost", "whole"]),
    ),
    st.tuples(st.just("graph"), st.lists(kernels, min_size=1, max_size=4), st.integers(1, 4)),
)
one_stream = st.lists(
    st.one_of(
        actions.filter(lambda a: a[0] != "launch"),
        st.tuples(
            st.just("launch"),
            kernels,
            st.integers(1, 4),
            st.just(7),
            st.sampled_from(["whole", "kernel lost"]),
        ),
    ),
    min_size=1,
    max_size=12,
)


def simulated(steps: list[list[tuple]], *, marked: bool) -> tuple[Simulation, list[tuple]]:
    run = Simulation()
    windows = []
    for number, step in enumerate(steps):
        start = run.at
        run.trace.op("aten::empty", start, start + 1)
        run.at += 1
        for action in step:
            match action:
                case ("python", length):
                    run.at += length
                case ("wait", reason, length):
                    run.wait(reason, length)
                case ("launch", kernel, cost, stream, record):
                    run.launch([kernel], cost, stream, graph=False, record=record)
                case ("graph", kinds, cost):
                    run.launch(kinds, cost, 7, graph=True, record="whole")
        windows.append((f"step {number}", start, run.at))
        if marked:
            run.trace.step(number, start, run.at)
    return run, windows


def truth_us(run: Simulation, start: int, end: int) -> Counter[str]:
    """The bars of a window, painted one microsecond after the other."""
    bars: Counter[str] = Counter()
    order = {id(work): index for index, work in enumerate(run.work)}
    for t in range(start, end):
        running = [w for w in run.work if w.start <= t < w.end]
        if running:

            def first(w: Work) -> tuple[int, int, int, int]:
                rank = ORDER["unlinked"] if not w.is_linked else ORDER[w.kind]
                if w.kind in ("communication", "copies"):
                    rank = ORDER[w.kind]
                return rank, w.start, w.end, order[id(w)]

            equal = min(running, key=first)
            bars[equal.kind if equal.is_linked else "unlinked"] += 1
            continue
        later = [w for w in run.work if w.start > t]
        following = min(later, key=lambda w: w.start) if later else None
        earlier = [w for w in run.work if w.end <= t]
        before = max(earlier, key=lambda w: w.start) if earlier else None
        reason = next((r for low, high, r in run.waiting if low <= t < high), None)
        between = [
            end
            for begin, end in run.lost
            if (before is None or begin > before.launch[0])
            and (following is None or begin < following.launch[0])
        ]
        if between and t >= between[0]:
            bars[idle.LOST] += 1
        elif following is not None and not following.is_linked:
            bars[reason or idle.UNKNOWN] += 1
        elif following is None or t < following.launch[1]:
            bars[reason or idle.HOST] += 1
        else:
            bars[idle.GRAPH if following.in_graph else idle.LAUNCHED] += 1
    return bars


def check(steps: list[list[tuple]], *, marked: bool) -> None:
    run, windows = simulated(steps, marked=marked)
    if not run.work:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        path.write_text(json.dumps(run.trace.data()))
        found = trace_account([path])
    if not marked:
        windows = [("the whole trace", 0, 0)]
    assert [step.name for step in found.steps] == [name for name, _, _ in windows]
    for step, (_, start, marked_end) in zip(found.steps, windows, strict=True):
        # Without marks the window ends with what is recorded last.
        end = marked_end if marked else round(step.step_s * 1e6)
        measured = {bar.name: round(bar.seconds * 1e6) for bar in step.account if bar.seconds}
        assert measured == dict(truth_us(run, start, end))
        assert round(step.step_s * 1e6) == end - start
        inside = [(max(w.start, start), min(w.end, end), w) for w in run.work]
        inside = [(low, high, w) for low, high, w in inside if high > low]
        assert round(step.device_sum_s * 1e6) == sum(high - low for low, high, _ in inside)
        attributed_s = sum(bar.device_sum_s for bar in step.account)
        assert round(attributed_s * 1e9) == round(step.device_sum_s * 1e9)
        unlinked = sum(high - low for low, high, w in inside if not w.is_linked)
        assert round(step.unlinked_s * 1e6) == unlinked
        assert step.device_busy_s <= step.step_s
        assert round((step.device_busy_s + step.device_idle_s) * 1e9) == round(step.step_s * 1e9)


@settings(max_examples=500)
@given(steps=st.lists(st.lists(actions, min_size=1, max_size=12), min_size=1, max_size=3))
def test_the_account_of_any_marked_program_is_the_truth(steps: list[list[tuple]]) -> None:
    check(steps, marked=True)


@settings(max_examples=200)
@given(step=st.lists(actions, min_size=1, max_size=15))
def test_the_account_of_any_unmarked_program_is_the_truth(step: list[tuple]) -> None:
    check([step], marked=False)


@settings(max_examples=200)
@given(steps=st.lists(one_stream, min_size=1, max_size=3))
def test_lost_kernels_are_never_called_idle(steps: list[list[tuple]]) -> None:
    check(steps, marked=True)


points = st.integers(-40, 40)
intervals = st.lists(st.tuples(points, points).map(lambda p: (min(p), max(p))), max_size=12)


def covered(found: list[tuple[int, int]]) -> set[int]:
    return {t for low, high in found for t in range(low, high)}


@given(left=intervals, right=intervals)
def test_interval_arithmetic_is_set_arithmetic(
    left: list[tuple[int, int]], right: list[tuple[int, int]]
) -> None:
    a, b = union(left), union(right)
    assert covered(a) == covered(left)
    assert total(a) == len(covered(left))
    assert all(x[1] < y[0] for x, y in itertools.pairwise(a))
    assert covered(intersection(a, b)) == covered(left) & covered(right)
    assert covered(difference(a, b)) == covered(left) - covered(right)
    assert total(intersection(a, b)) + total(difference(a, b)) == total(a)


@given(events=intervals, taken=intervals)
def test_every_moment_goes_to_one_event(
    events: list[tuple[int, int]], taken: list[tuple[int, int]]
) -> None:
    parts = exclusive(events, union(taken))
    assert sum(total(own) for own in parts) == len(covered(events) - covered(taken))
    for own, event in zip(parts, events, strict=True):
        assert covered(own) <= covered([event]) - covered(taken)
