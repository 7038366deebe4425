"""A sweep's estimate of time and the order of a search ask the stored probe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from mfubench_model.presets import PRESETS

from mfubench.hardware.fingerprint import fingerprint
from mfubench.measure.loop_config import LoopConfig
from mfubench.predict.elsewhere import known_here
from mfubench.predict.machine import PROBE
from mfubench.predict.predict import predict
from mfubench.predict.sweep import predicted_gain, predicted_steps_s
from mfubench.results import document
from tests.unit.predict.made_up_machine import ANCHORS, MadeUp, setting

CASE = {"preset": "nanogpt-cpu", "device": "cpu", "dtype": "float32", "compile": False}


def test_each_training_case_that_can_be_predicted_has_its_step(tmp_path: Path) -> None:
    document.save(PROBE, MadeUp().probe(ANCHORS, threads=3), tmp_path)
    cases = {
        "small": {**CASE, "batch_size": 12},
        "large": {**CASE, "batch_size": 48},
        "not probed": {**CASE, "batch_size": 12, "dtype": "bfloat16"},
        "no preset of ours": {**CASE, "batch_size": 12, "preset": "mine"},
        "no probe": {**CASE, "batch_size": 12, "device": "cuda"},
    }
    machine_dir = tmp_path / fingerprint().id
    found = predicted_steps_s(cases, machine_dir, 3)
    assert list(found) == ["small", "large"]
    known = known_here(tmp_path, "cpu", 3)
    assert known is not None
    assert PRESETS["nanogpt-cpu"].config.n_layer == setting().n_layer
    own = predict(setting(batch_size=48), known.machine, iterations=1)
    assert found["large"] == pytest.approx(own.step_s)
    assert predicted_steps_s(cases, machine_dir, 2) == {}, "a probe with other threads"


def test_a_knob_wins_what_a_prediction_can_tell_apart(tmp_path: Path) -> None:
    document.save(PROBE, MadeUp().probe(ANCHORS, threads=3), tmp_path)
    known, base = known_here(tmp_path, "cpu", 3), LoopConfig()
    assert known is not None
    larger, eager = replace(base, batch_size=48), predict(setting(), known.machine, iterations=1)
    four = predict(setting(batch_size=48), known.machine, iterations=1)
    assert eager.step_s is not None
    assert four.step_s is not None
    wanted = 1 - four.step_s / 4 / eager.step_s
    assert predicted_gain(base, larger, known) == pytest.approx(wanted)
    assert wanted > 0
    assert predicted_gain(larger, base, known) == pytest.approx(-wanted / (1 - wanted))
    for beyond in (base, replace(base, optimizer="fused"), replace(base, dtype="bfloat16")):
        assert predicted_gain(base, beyond, known) is None
    assert predicted_gain(base, larger, None) is None
