"""Rows become steps: on rows that are written down, and on a loop in this process."""

from __future__ import annotations

from array import array

import pytest
import torch

import mfubench
from mfubench.script.context import Measured
from mfubench.script.pauses import EVALUATION, QUIET, Pause
from mfubench.script.run import EnoughSteps, TrainingRun
from mfubench.script.steps import COLUMNS, Rows, find_steps


def rows(*noted: tuple[float, int, float], names: tuple[str, ...] = ("SGD", "Adam")) -> Rows:
    """Rows of (time, optimizer, evaluation)."""
    data = array("d")
    pauses = []
    for row, (at_s, which, evaluation_s) in enumerate(noted):
        data.extend((at_s, which, 1, 0.0, 0.0, 0.0, 0))
        if evaluation_s:
            pauses.append(Pause(EVALUATION, row, at_s - evaluation_s, at_s))
    return Rows(data=data, names=list(names), pauses=pauses)


def test_a_row_has_its_columns() -> None:
    assert len(rows((1.0, 0, 0.0))) == 1
    assert len(COLUMNS) == 7


def test_a_pause_is_not_in_a_steps_time() -> None:
    found = find_steps(rows((1.0, 0, 0.0), (2.0, 0, 0.0), (13.0, 0, 10.0)))
    assert [step.seconds for step in found.steps] == [1.0, 1.0]
    assert found.steps[1].evaluation_s == 10.0


def test_a_block_without_gradients_is_a_pause_where_it_runs_now_and_then() -> None:
    noted = rows(*((float(i), 0, 0.0) for i in range(6)))
    noted.pauses = [
        *(Pause(QUIET, row, row - 0.5, row - 0.4, site=0) for row in range(6)),  # a teacher
        Pause(QUIET, 3, 2.6, 2.9, site=1),
    ]
    found = find_steps(noted)
    assert [round(step.seconds, 9) for step in found.steps] == [1, 1, 0.7, 1, 1]
    assert [step.has_quiet_evaluation for step in found.steps] == [i == 2 for i in range(5)]


@pytest.mark.parametrize(
    ("announced", "quiet", "device_s", "paused_s"),
    [
        ((2.3, 2.7), (2.2, 2.8), (None, None), 0.6),  # nanoGPT: announced in a block
        ((2.3, 2.9), (2.2, 2.8), (None, None), 0.7),  # told to train again after the block
        ((2.2, 2.4), (2.5, 2.8), (None, None), 0.5),  # one after the other
        ((2.3, 2.7), (2.2, 2.8), (0.3, 0.5), 0.5),  # on the device's clock
    ],
)
def test_a_pause_within_another_counts_once(
    announced: tuple[float, float],
    quiet: tuple[float, float],
    device_s: tuple[float | None, float | None],
    paused_s: float,
) -> None:
    noted = rows(*((float(i), 0, 0.0) for i in range(6)))
    noted.pauses = [
        Pause(EVALUATION, 3, *announced, device_s=device_s[0]),
        Pause(QUIET, 3, *quiet, site=1, device_s=device_s[1]),
    ]
    step = find_steps(noted).steps[2]
    assert step.evaluation_s == pytest.approx(paused_s)
    assert step.seconds == pytest.approx(1 - paused_s)
    assert step.has_quiet_evaluation == (announced[1] < quiet[0])


def test_one_step_is_not_enough_and_says_so() -> None:
    found = find_steps(rows((1.0, 0, 0.0)))
    assert not found.found
    assert "SGD stepped once" in found.boundary


def test_optimizers_in_no_order_are_not_guessed_at() -> None:
    order = [0, 1, 0, 0, 0, 1, 1, 0]
    found = find_steps(rows(*((float(i), which, 0.0) for i, which in enumerate(order))))
    assert not found.found
    assert found.boundary.startswith("not found: the optimizers step in no fixed order (SGD 5")


def train(steps: int) -> None:
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters())
    for _ in range(steps):
        model(torch.randn(3, 4)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def test_a_block_is_measured() -> None:
    with mfubench.measure_training(name="mine") as measured:
        train(12)
    record = measured.record
    assert record is not None
    assert record.case_id == "script/mine/cpu-float32-eager"
    assert record.model_flops_per_step == 2 * (2 * 3 * 4 * 2)
    assert "Steps were found by SGD.step: 11 of them" in str(measured)


def fails_in_a_block() -> Measured:
    try:
        with mfubench.measure_training() as measured:
            train(12)
            _ = 1 / 0
    except ZeroDivisionError:
        return measured
    raise AssertionError("the error was swallowed")


def test_what_a_block_raises_passes_through_and_what_was_measured_is_kept() -> None:
    measured = fails_in_a_block()
    assert measured.record is not None
    assert measured.record.ended_early == "the block failed: ZeroDivisionError"
    assert measured.record.rounds


def test_nothing_of_ours_is_left_in_torch() -> None:
    def places() -> list[object]:
        from torch.optim import optimizer
        from torch.utils.data.dataloader import _BaseDataLoaderIter

        return [
            torch.autograd._engine_run_backward,  # type: ignore[attr-defined]
            torch.amp.GradScaler._maybe_opt_step,
            torch.nn.Module.train,
            torch.save,
            torch.no_grad.__enter__,
            torch.inference_mode.__exit__,
            _BaseDataLoaderIter.__next__,
            len(optimizer._global_optimizer_pre_hooks),
            len(optimizer._global_optimizer_post_hooks),
            torch._C._len_torch_dispatch_stack(),
        ]

    before = places()
    with mfubench.measure_training():
        train(3)
        assert places() != before
    assert places() == before


def test_enough_steps_end_the_script() -> None:
    run = TrainingRun(steps=6)
    run.start()
    try:
        with pytest.raises(EnoughSteps) as ended:
            train(1000)
    finally:
        found = run.stop()
    assert ended.value.code == 0
    assert len(found.rounds_s) >= 6
    assert len(found.steps.steps) < 30


def test_a_step_that_is_replaced_in_mid_run_is_missed_and_said() -> None:
    with mfubench.measure_training() as run:
        model = torch.nn.Linear(4, 2)
        optimizer = torch.optim.SGD(model.parameters())
        for number in range(20):
            model(torch.randn(3, 4)).sum().backward()
            if number == 12:
                optimizer.step = lambda closure=None: None  # type: ignore[method-assign]
            optimizer.step()
    assert run.record is not None
    assert run.record.steps_seen == 11
    assert run.record.boundary == (
        "SGD.step; 8 backward passes after the last of them were followed by no step that could be "
        "seen"
    )
