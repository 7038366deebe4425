"""The device's clock with events that the test lets happen; what runs in TF32."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mfubench.script.device_clock import CudaClock
from mfubench.script.pauses import CHECKPOINT, Pause
from mfubench.script.recorder import Recorder
from mfubench.script.tally import format_of


class Queue:
    """A device's queue: an event happens when the device gets there."""

    def __init__(self) -> None:
        self.queued_ms = self.reached_ms = 0.0
        self.is_capturing = False
        self.waits = 0

    def Event(self, *, enable_timing: bool) -> Any:  # noqa: N802 - torch's name
        event = SimpleNamespace(at_ms=None)
        event.record = lambda stream: setattr(event, "at_ms", self.queued_ms)
        event.query = lambda: event.at_ms <= self.reached_ms
        event.elapsed_time = lambda other: other.at_ms - event.at_ms

        def synchronize() -> None:
            self.waits += 1
            self.reached_ms = self.queued_ms

        event.synchronize = synchronize
        return event

    def is_current_stream_capturing(self) -> bool:
        return self.is_capturing

    def current_stream(self, device: object) -> None:
        return None


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    queue = Queue()
    for name in ("Event", "is_current_stream_capturing", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, getattr(queue, name))
    return queue


def test_steps_and_pauses_are_timed_where_they_run(queue: Queue) -> None:
    clock = CudaClock("cuda:0")
    clock.mark()
    queue.queued_ms += 40
    pause = Pause(CHECKPOINT, 1, 0.0, 0.001, begin=clock.event())
    queue.queued_ms += 300  # the host was gone after a millisecond
    pause.end = clock.event()
    clock.paused(pause)
    queue.queued_ms += 10
    clock.mark()
    assert list(clock.so_far()) == [0.0]
    assert queue.waits == 0
    assert list(clock.finished()) == pytest.approx([0.0, 0.350])
    assert pause.seconds == pytest.approx(0.300)
    assert queue.waits == 1


def test_no_event_gets_into_a_graph_that_is_captured(queue: Queue) -> None:
    clock = CudaClock("cuda:0")
    for is_capturing in (False, True, False):
        queue.is_capturing = is_capturing
        queue.queued_ms += 20
        clock.mark()
    assert list(clock.finished()) == pytest.approx([0.0, 0.0, 0.040])


def test_a_look_into_a_run_sees_rows_that_have_happened(queue: Queue) -> None:
    recorder = Recorder()
    recorder._use_device(SimpleNamespace(type="cuda"))
    recorder.rows.names.append("SGD")
    for _ in range(3):
        queue.queued_ms += 20
        recorder._note(0)
    queue.reached_ms = 40
    assert len(recorder.so_far()) == 2
    assert len(recorder.rows) == 3
    assert len(recorder.finished()) == 3


@pytest.mark.parametrize(
    ("operator", "matmul", "cudnn", "expected"),
    [
        ("aten::mm", False, True, "float32"),
        ("aten::mm", True, False, "tf32"),
        ("aten::convolution", False, True, "tf32"),
        ("aten::convolution_backward", True, False, "float32"),
        ("aten::_cudnn_rnn", False, True, "tf32"),
    ],
)
def test_what_runs_in_tf32(
    monkeypatch: pytest.MonkeyPatch, operator: str, matmul: bool, cudnn: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.backends.cuda, "matmul", SimpleNamespace(allow_tf32=matmul))
    monkeypatch.setattr(torch.backends, "cudnn", SimpleNamespace(allow_tf32=cudnn))

    def factor(kind: str, dtype: torch.dtype) -> Any:
        return SimpleNamespace(dtype=dtype, device=torch.device(kind))

    assert format_of(operator, factor("cuda", torch.float32)) == expected
    assert format_of(operator, factor("cuda", torch.bfloat16)) == "bfloat16"
    assert format_of(operator, factor("cpu", torch.float32)) == "float32"
