"""The account of the host alone, for a trace without a device: each moment is the operator's that
ran deepest, on the thread that the step was marked on where several ran."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from mfubench.analysis import components
from mfubench.analysis.intervals import Interval, difference, exclusive, total, union
from mfubench.trace.bars import OTHER, around, phase_of
from mfubench.trace.document import Bar, Step
from mfubench.trace.events import HostOp, Recording
from mfubench.trace.steps import Window

OUTSIDE_OPERATORS = "Python, in no operator"


class HostAccount:
    """What the operators of one recording took on the host."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.ops = [op for op in recording.ops if op.kind == "op"]
        self._starts = sorted(op.start for op in self.ops)
        children: dict[HostOp, list[Interval]] = {}
        for op in self.ops:
            outer = next((o for o in around(op.parent) if o.kind == "op"), None)
            if outer is not None:
                children.setdefault(outer, []).append((op.start, op.end))
        self._own = {
            op: difference([(op.start, op.end)], union(children.get(op, []))) for op in self.ops
        }
        threads = Counter(op.thread for op in self.ops)
        marked = recording.marks[0].thread if recording.marks else None
        self._main = marked if marked in threads else threads.most_common(1)[0][0]

    def step(self, window: Window) -> Step:
        """One window. Its device bars are empty and its host bars add up to it."""
        segments: dict[bool, list[tuple[Interval, str]]] = {True: [], False: []}
        for op in self.ops:
            if op.end <= window.start or op.start >= window.end:
                continue
            bar = _bar(op)
            for low, high in self._own[op]:
                part = max(low, window.start), min(high, window.end)
                if part[1] > part[0]:
                    segments[op.thread == self._main].append((part, bar))
        own_ns: Counter[str] = Counter()
        taken: list[Interval] = []
        for is_main in (True, False):
            parts = [part for part, _ in segments[is_main]]
            for (_, bar), alone in zip(segments[is_main], exclusive(parts, taken), strict=True):
                own_ns[bar] += total(alone)
            taken = union([*taken, *parts])
        rest = difference([(window.start, window.end)], taken)
        bars = [Bar(name=name, seconds=ns / 1e9) for name, ns in own_ns.most_common() if ns]
        if rest:
            bars.append(Bar(name=OUTSIDE_OPERATORS, seconds=total(rest) / 1e9))
        return Step(
            name=window.name,
            rank=self.recording.rank,
            step_s=window.seconds,
            device_busy_s=None,
            device_sum_s=None,
            device_idle_s=None,
            unlinked_s=None,
            communication_s=None,
            communication_exposed_s=None,
            operators=bisect_left(self._starts, window.end)
            - bisect_left(self._starts, window.start),
            launches=0,
            graph_launches=0,
            account=bars,
        )


def _bar(op: HostOp) -> str:
    if (phase := phase_of(op)) is not None:
        return phase
    chain = [outer for outer in around(op) if outer.kind == "op"]
    for outer in reversed(chain):
        named = components.by_name(outer.name) or components.of_fused_kernel(outer.name)
        if named not in (None, components.DISPATCH):
            return named
    if components.by_name(chain[0].name) == components.DISPATCH:
        return components.DISPATCH
    return components.RESIDUAL if chain[0].name in ("aten::add", "aten::add_") else OTHER
