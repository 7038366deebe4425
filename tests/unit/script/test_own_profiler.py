"""A script's own profiler records what it records without us, and ours gives way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile, schedule

from mfubench.script.finish import Wanted, finish
from mfubench.script.live_trace import TRACED_STEPS
from mfubench.script.own_profiler import WHY
from mfubench.script.run import TrainingRun
from mfubench.trace.build import NoDeviceError, trace_account

Events = list[list[tuple[str, int]]]

STEP = 2 * 3 * (2 * (4 * 8 + 8 * 2) + 8 * 2)
"""Forward, both weights' gradients, and that of the second layer's input."""


def train(steps: int, step_ended: Callable[[], None] = lambda: None) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters())
    for _ in range(steps):
        model(torch.randn(3, 4)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        step_ended()


def events_of(profiler: Any) -> list[tuple[str, int]]:
    return sorted((event.key, event.count) for event in profiler.key_averages())


def plain(steps: int) -> Events:
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        train(steps)
    return [events_of(profiler)]


def legacy(steps: int) -> Events:
    with torch.autograd.profiler.profile() as profiler:
        train(steps)
    return [events_of(profiler)]


def nothing(steps: int) -> Events:
    train(steps)
    return []


def scheduled(wait: int, warmup: int, active: int, repeat: int) -> Callable[[int], Events]:
    def script(steps: int) -> Events:
        seen: Events = []
        with profile(
            activities=[ProfilerActivity.CPU],
            schedule=schedule(wait=wait, warmup=warmup, active=active, repeat=repeat),
            on_trace_ready=lambda profiler: seen.append(events_of(profiler)),
            record_shapes=True,
            acc_events=True,
        ) as profiler:
            train(steps, profiler.step)
        return seen

    return script


SCRIPTS: dict[str, Callable[[int], Events]] = {
    "plain": plain,
    "legacy": legacy,
    "often": scheduled(2, 1, 2, 0),
    "at once": scheduled(0, 1, 3, 1),
    "in the first count": scheduled(2, 1, 1, 1),
    "in our trace": scheduled(13, 1, 8, 1),
    "in the breakdown": scheduled(31, 2, 3, 1),
}


def watched(
    script: Callable[[int], Events], path: Path, steps: int = 120, *, breakdown: bool = True
) -> tuple[Events, TrainingRun, Any]:
    run = TrainingRun(breakdown=breakdown, save_trace=path)
    run.start()
    try:
        events = script(steps)
    finally:
        found = run.stop()
    record, notes = finish(run, found, Wanted(label="mine", argv=["mine"]))
    assert notes == []
    return events, run, record


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("breakdown", [True, False])
def test_its_events_are_those_without_us(tmp_path: Path, name: str, breakdown: bool) -> None:
    bare = SCRIPTS[name](120)
    assert bare
    path = tmp_path / "trace.json"
    events, run, record = watched(SCRIPTS[name], path, breakdown=breakdown)
    assert events == bare
    assert run.recorder.trouble is None
    assert record.steps_seen == 119
    assert run.trace is not None
    if name in ("plain", "legacy", "often"):  # there is no room for ours
        assert run.trace.problem == WHY
        assert not path.exists()
    else:  # ours comes afterwards, and holds our steps only
        assert run.trace.problem is None
        with pytest.raises(NoDeviceError) as raised:
            trace_account([path])
        steps = raised.value.account.steps
        assert len(steps) == TRACED_STEPS
        assert len({step.operators for step in steps}) == 1
        assert record.parts_lost is None
        assert record.model_flops_per_step == STEP


def test_what_there_was_no_room_for_is_said_in_one_sentence(tmp_path: Path) -> None:
    _, _, record = watched(plain, tmp_path / "trace.json", 40)
    assert record.parts_lost == [f"FLOPs and the breakdown: {WHY}"]
    assert record.breakdown is None
    assert record.breakdown_problem == f"no breakdown: {WHY}"
    assert record.flops_counted_steps is None
    assert record.loss is not None
    from mfubench.script.text import run_text

    text = " ".join(run_text(record, color=False).split())
    assert f"One part of the record is missing. FLOPs and the breakdown: {WHY}." in text
    assert "too short" not in text


def test_without_one_nothing_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    _, run, record = watched(nothing, path)
    assert run.left_out == []
    assert record.breakdown is not None
    assert path.exists()
