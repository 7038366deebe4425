"""Which operator is in which, which call is in which operator, and which call launched a kernel."""

from __future__ import annotations

from bisect import bisect_right

from mfubench.trace.events import HostCall, HostOp, Recording, starts_work


def nest(recording: Recording) -> None:
    """Give every operator, range and frame its parent on its thread, every call its operator."""
    by_thread: dict[int | str, list[HostOp]] = {}
    for op in recording.ops:
        by_thread.setdefault(op.thread, []).append(op)
    starts: dict[int | str, list[int]] = {}
    for thread, ops in by_thread.items():
        ops.sort(key=lambda op: (op.start, -op.end))
        stack: list[HostOp] = []
        for op in ops:
            while stack and stack[-1].end <= op.start:
                stack.pop()
            # Written with rounding, a child may end a little after its parent.
            op.parent = stack[-1] if stack else None
            stack.append(op)
        starts[thread] = [op.start for op in ops]
    recording.ops = [op for ops in by_thread.values() for op in ops]
    recording.marks.sort(key=lambda mark: mark.start)
    recording.device_events.sort(key=lambda event: (event.start, event.end))
    recording.calls.sort(key=lambda call: call.start)
    for call in recording.calls:
        if call.thread in by_thread:
            call.op = _around(by_thread[call.thread], starts[call.thread], call.start)


def _around(ops: list[HostOp], starts: list[int], at: int) -> HostOp | None:
    index = bisect_right(starts, at) - 1
    op = ops[index] if index >= 0 else None
    while op is not None and op.end < at:
        op = op.parent
    return op


def link(recording: Recording) -> None:
    """Join kernels with the calls that launched them by their correlation id, and where a call is
    in no operator of its thread, by the operator's external id."""
    by_correlation: dict[int, HostCall] = {}
    for call in recording.calls:
        if call.correlation and starts_work(call.name):
            by_correlation.setdefault(call.correlation, call)
    by_external = {op.external_id: op for op in recording.ops if op.external_id}
    # Old traces count kernels and operators apart, and the same number means nothing there.
    ids_are_operators = any(
        call.external_id not in (None, call.correlation) for call in recording.calls
    )
    for event in recording.device_events:
        launch = by_correlation.get(event.correlation) if event.correlation else None
        event.launch = launch
        if launch is not None:
            if launch.op is None and ids_are_operators and launch.external_id:
                launch.op = by_external.get(launch.external_id)
            event.op = launch.op
        elif not event.correlation and event.external_id:
            op = by_external.get(event.external_id)
            event.op = op if op is not None and op.start <= event.start else None
