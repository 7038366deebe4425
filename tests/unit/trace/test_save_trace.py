"""The trace that `mfubench breakdown --save-trace` writes is one that `mfubench trace` reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from mfubench_model.corpus import open_corpus

from mfubench.hardware.device_cpu import CpuDevice
from mfubench.measure.gpt_workload import GPTWorkload
from mfubench.measure.profiling import PROFILED_STEPS, save_trace
from mfubench.measure.train_step import TrainStep
from mfubench.trace.build import NoDeviceError, trace_account
from tests.conftest import TINY
from tests.one_sentence import assert_refused


@pytest.mark.parametrize("ending", [".json", ".json.gz"])
def test_steps_and_phases_of_a_gpt(tmp_path: Path, ending: str) -> None:
    corpus = open_corpus(None, vocab_size=65, block_size=8, cache_dir=tmp_path)
    workload = GPTWorkload(TINY, TINY.batch_size, corpus)
    step = TrainStep(workload, CpuDevice(), dtype="float32", compile=False)
    step()
    path = tmp_path / f"trace{ending}"
    save_trace(step, path)
    with pytest.raises(NoDeviceError) as raised:
        trace_account([path])
    steps = raised.value.account.steps
    assert len(steps) == PROFILED_STEPS
    assert len({found.operators for found in steps}) == 1
    for found in steps:
        assert sum(bar.seconds for bar in found.account) == pytest.approx(found.step_s)
        names = {bar.name for bar in found.account}
        wanted = {"gemm", "attention", "normalisation", "activation", "embedding", "loss"}
        assert wanted | {"clip", "optimizer"} <= names


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("trace.txt", "must end in .json or .json.gz"),
        ("there.json", "nothing is overwritten"),
        ("none/trace.json", "there is no folder"),
    ],
)
def test_where_no_trace_can_be_written_is_told_first(
    name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there.json").write_text("kept")
    arguments = ["breakdown", "--save-trace", str(tmp_path / name)]
    assert_refused(capsys, arguments, words, status=2)
    assert (tmp_path / "there.json").read_text() == "kept"
