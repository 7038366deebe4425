"""The communication of a step, which can be made to do nothing, and notes when it is wanted.

DDP has one hook for it. FSDP2 has two objects, one for its all-gathers and one for its
reduce-scatters. Both are asked in the middle of a step: what they note is a list append.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.profiler import record_function
from torch.futures import Future

from mfubench.measure.ddp_counters import EVERY_STEP, count_once_in

all_gather: Callable[..., Any] = getattr(dist, "all_gather_single", dist.all_gather_into_tensor)
reduce_scatter: Callable[..., Any] = getattr(
    dist, "reduce_scatter_single", dist.reduce_scatter_tensor
)
"""torch 2.13 has new names for them, and warns of the old ones."""

Delay = Callable[[int], float]
"""Seconds that a message of so many bytes takes longer, for tests that plant one."""


class Communication:
    """What a strategy does between ranks. `is_silent` takes it out."""

    def __init__(self, group: dist.ProcessGroup, *, has_queue: bool = False) -> None:
        self.is_silent = False
        self.delay: Delay | None = None
        self.arrived_s: list[float] = []
        """When the last gradient of each step was ready, on this rank's clock."""
        self.began_s: list[float] = []
        self.spans: list[tuple[float, float]] = []
        """Start and end of each message since `forget`, where the host can see them."""
        self.slept: list[tuple[float, float]] = []
        self.messages: Counter[tuple[str, str, int]] = Counter()
        """Since `forget`: collective, dtype and bytes of the whole message."""
        self._group = group
        self._ranks = dist.get_world_size(group)
        self._has_queue = has_queue
        self._wire: _SlowWire | None = None

    def forget(self) -> None:
        """Start noting anew."""
        self.arrived_s, self.spans, self.slept = [], [], []
        self.messages.clear()

    # --- DDP -----------------------------------------------------------------------------------

    def attach(self, ddp: Any) -> None:
        """Be the hook of a model in DDP, whose own counters count every step."""
        count_once_in(ddp, EVERY_STEP)
        # DDP looks at a hook's annotations, and cannot read those that are not evaluated.
        ddp.register_comm_hook(None, lambda state, bucket: self.hook(state, bucket))  # noqa: PLW0108

    def hook(self, state: object, bucket: Any) -> Future[Tensor]:
        """DDP's own all-reduce, average included; or nothing."""
        buffer = bucket.buffer()
        if bucket.is_last() and not self._has_queue:
            self.arrived_s.append(time.perf_counter())
        if self.is_silent:
            done: Future[Tensor] = Future()
            done.set_result(buffer)
            return done
        self._note("all-reduce", buffer)
        if self.delay is not None:
            return self._delayed(buffer)
        began_s = time.perf_counter()
        work = dist.all_reduce(buffer.div_(self._ranks), group=self._group, async_op=True)
        assert work is not None

        def ended(future: Any) -> Tensor:
            self.spans.append((began_s, time.perf_counter()))
            result: Tensor = future.value()[0]
            return result

        chained: Future[Tensor] = work.get_future().then(ended)
        return chained

    def _delayed(self, buffer: Tensor) -> Future[Tensor]:
        """A slow wire: messages wait their turn and take longer by their bytes, while the backward
        pass goes on. A profile shows each as a message, from its start to its end."""
        if self._wire is None:
            self._wire = _SlowWire()
        done: Future[Tensor] = Future()
        began_s = time.perf_counter()

        def send() -> None:
            assert self.delay is not None
            start_s = time.perf_counter()
            time.sleep(self.delay(buffer.numel() * buffer.element_size()))
            self.slept.append((start_s, time.perf_counter()))
            dist.all_reduce(buffer.div_(self._ranks), group=self._group)
            self.spans.append((began_s, time.perf_counter()))
            done.set_result(buffer)

        self._wire.put(send)
        with record_function("gloo:slow_wire") as seen:
            shown: Future[Tensor] = seen._call_end_callbacks_on_future(done)
        return shown

    # --- FSDP2 ---------------------------------------------------------------------------------

    def gather(
        self,
        output_tensor: Tensor,
        input_tensor: Tensor,
        group: dist.ProcessGroup,
        async_op: bool = False,
    ) -> dist.Work | None:
        """An all-gather; silent, every rank's part is this rank's own, so that numbers stay
        finite."""
        if self.is_silent:
            own = dist.get_rank(group)
            for rank, part in enumerate(output_tensor.view(self._ranks, -1)):
                if rank != own:  # the input is the own part of the output
                    part.copy_(input_tensor.view(-1))
            return None
        self._note("all-gather", output_tensor)
        self._sleep(output_tensor)
        work: dist.Work | None = all_gather(
            output_tensor, input_tensor, group=group, async_op=async_op
        )
        return work

    def scatter(
        self,
        output_tensor: Tensor,
        input_tensor: Tensor,
        group: dist.ProcessGroup,
        op: Any,
        async_op: bool = False,
    ) -> dist.Work | None:
        """A reduce-scatter; silent, this rank's gradients alone."""
        if self.is_silent:
            part = input_tensor.view(self._ranks, -1)[dist.get_rank(group)]
            output_tensor.view(-1).copy_(part)
            return None
        self._note("reduce-scatter", input_tensor)
        self._sleep(input_tensor)
        work: dist.Work | None = reduce_scatter(
            output_tensor, input_tensor, op=op, group=group, async_op=async_op
        )
        return work

    def _note(self, collective: str, whole: Tensor) -> None:
        size = whole.numel() * whole.element_size()
        self.messages[collective, str(whole.dtype).removeprefix("torch."), size] += 1

    def _sleep(self, whole: Tensor) -> None:
        if self.delay is not None:
            start_s = time.perf_counter()
            time.sleep(self.delay(whole.numel() * whole.element_size()))
            self.slept.append((start_s, time.perf_counter()))

    # --- what was noted ------------------------------------------------------------------------

    def hidden_s(self, started_s: Sequence[float]) -> float | None:
        """Seconds per step of messages before their step's last gradient was ready; `started_s` is
        when each step began. None where the host cannot see it."""
        if not self.spans or len(self.arrived_s) != len(started_s):
            return None
        return _within(self.spans, started_s, self.arrived_s) / len(started_s)

    def planted_s(self, started_s: Sequence[float]) -> float | None:
        """Seconds per step of planted sleep that nothing can hide: after the last gradient."""
        if not self.slept or len(self.arrived_s) != len(started_s):
            return None
        total_s = sum(end - start for start, end in self.slept)
        return (total_s - _within(self.slept, started_s, self.arrived_s)) / len(started_s)

    def close(self) -> None:
        """End the slow wire's thread."""
        if self._wire is not None:
            self._wire.put(None)


def _within(
    spans: Sequence[tuple[float, float]], starts: Sequence[float], ends: Sequence[float]
) -> float:
    """Seconds that spans cover between each start and its end; two at once count once.

    >>> _within([(1.0, 3.0), (2.0, 5.0), (10.0, 12.0)], [0.0, 9.0], [4.0, 11.0])
    4.0
    """
    covered = 0.0
    for low, high in zip(starts, ends, strict=True):
        reached = low
        for start, end in sorted(spans):
            covered += max(0.0, min(end, high) - max(start, reached))
            reached = max(reached, min(end, high))
    return covered


class _SlowWire(threading.Thread):
    """Sends one message after the other."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._messages: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.start()

    def put(self, message: Callable[[], None] | None) -> None:
        self._messages.put(message)

    def run(self) -> None:
        while (message := self._messages.get()) is not None:
            message()


class Gather:
    """The all-gather of FSDP2, in the form that it asks for."""

    def __init__(self, communication: Communication) -> None:
        self._communication = communication

    def allocate(self, size: Any, *, dtype: torch.dtype, device: torch.device) -> Tensor:
        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(self, *args: Any, **kwargs: Any) -> dist.Work | None:
        return self._communication.gather(*args, **kwargs)


class Scatter(Gather):
    """Its reduce-scatter."""

    def __call__(self, *args: Any, **kwargs: Any) -> dist.Work | None:
        return self._communication.scatter(*args, **kwargs)
