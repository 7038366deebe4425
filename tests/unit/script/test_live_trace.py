"""`mfubench run --save-trace`: three live steps, and the account of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.profiler import profile

from mfubench.script import recorder
from mfubench.script.live_trace import TRACED_STEPS, account_text
from mfubench.script.run import TrainingRun
from mfubench.trace.build import NoDeviceError, trace_account
from mfubench.trace.text import trace_text
from tests.one_sentence import assert_refused


def trained(path: Path, steps: int) -> TrainingRun:
    run = TrainingRun(save_trace=path)
    run.start()
    try:
        model = torch.nn.Linear(4, 2)
        optimizer = torch.optim.SGD(model.parameters())
        for _ in range(steps):
            model(torch.randn(3, 4)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    finally:
        run.stop()
    return run


@pytest.mark.parametrize("ending", [".json", ".json.gz"])
def test_five_steps_are_traced_and_not_timed(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Until the tenth step the recorder keeps the loss, which is an operator of ours.
    monkeypatch.setattr(recorder, "LOSS_STEP", 0)
    path = tmp_path / f"trace{ending}"
    run = trained(path, 30)
    found = run.stop()
    assert run.trace is not None
    assert run.trace.problem is None
    # Beside them two steps were counted, and in one the profiler started.
    assert len(found.warmup_s) + len(found.rounds_s) == 29 - 2 - 1 - TRACED_STEPS - 1
    with pytest.raises(NoDeviceError) as raised:
        trace_account([path])
    account = raised.value.account
    assert len(account.steps) == TRACED_STEPS
    assert len({step.operators for step in account.steps}) == 1
    for step in account.steps:
        assert sum(bar.seconds for bar in step.account) == pytest.approx(step.step_s)
        assert {"gemm", "optimizer"} <= {bar.name for bar in step.account}
    # What is printed of the live run is what is printed of its trace.
    text = account_text(path, tmp_path / "results", color=False)
    assert text.startswith(trace_text(account))
    assert len(list((tmp_path / "results").rglob("trace/0001_*.json"))) == 1


def test_without_enough_steps_no_trace_is_written(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    run = trained(path, 8)
    assert run.trace is not None
    assert run.trace.problem == "the script ended before the steps that are traced"
    assert not path.exists()


def test_a_profiler_of_the_scripts_own_stays(tmp_path: Path) -> None:
    with profile() as own:
        run = trained(tmp_path / "trace.json", 30)
    assert run.trace is not None
    assert run.trace.problem is not None
    assert "the script's own profiler runs" in run.trace.problem
    assert any(event.name == "aten::addmm" for event in own.events() or ())


@pytest.mark.parametrize(
    ("name", "words"),
    [("trace.txt", "must end in .json or .json.gz"), ("none/trace.json", "there is no folder")],
)
def test_where_no_trace_can_be_written_is_told_before_the_script(
    name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "train.py"
    script.write_text("print('started')")
    typed = ["run", "--results-dir", str(tmp_path / "r"), "--no-ceilings"]
    arguments = [*typed, "--save-trace", str(tmp_path / name), str(script)]
    assert_refused(capsys, arguments, words, status=2)
