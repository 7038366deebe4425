"""`mfubench explain --device`: what a step of the log should take, from what is stored."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mfubench.cli import main
from mfubench.predict.elsewhere import known_device
from mfubench.predict.machine import PROBE, threads_of
from mfubench.predict.predict import predict
from mfubench.results import document
from tests.unit.explain.printed_by_train_py import (
    CPU_FLOPS,
    CPU_OVERRIDES,
    as_bytes,
    cpu_times_ms,
    header,
    iterations,
)
from tests.unit.predict.made_up_machine import ANCHORS, MadeUp, setting

Capture = pytest.CaptureFixture[str]
CARD = "NVIDIA GeForce RTX 4070 Ti"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A probe of this machine, eager steps alone."""
    probe = MadeUp().probe(ANCHORS, threads=threads_of(None))
    document.save(PROBE, probe, tmp_path / "results")
    return tmp_path / "results"


def log_of(
    folder: Path, changes: Mapping[str, object] | None = None, *, said: str = "", ranks: int = 1
) -> Path:
    overrides = {**CPU_OVERRIDES, **(changes or {})}
    lines = [*header(overrides), *([said] if said else [])]
    path = folder / "train.log"
    path.write_bytes(as_bytes(lines + iterations(cpu_times_ms(), flops=CPU_FLOPS / ranks)))
    return path


def predicted(capsys: Capture, results: Path, log: Path, *words: str) -> Any:
    typed = ["explain", str(log), "--results-dir", str(results), "--json", *words]
    assert main(typed) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    return run["predicted"]


@pytest.mark.parametrize("name", ["this", " This", "cpu"])
def test_a_stored_probe_says_what_the_step_should_take(
    results: Path, tmp_path: Path, capsys: Capture, name: str
) -> None:
    log = log_of(tmp_path)
    said = predicted(capsys, results, log, "--device", name)
    known = known_device("here", results)
    own = predict(setting(), known.machine, iterations=1, half_widths=known.half_widths)
    assert said["step_s"] == pytest.approx(own.step_s)
    assert (said["low_s"], said["high_s"]) == pytest.approx((own.low_s, own.high_s))
    assert said["setting"] == "float32, batch 12, eager"
    assert said["grade"] == "anchored"
    assert said["took_ratio"] == pytest.approx(37e-3 / own.step_s, rel=1e-3)
    assert said["problem"] is said["doubt"] is None


def test_the_text_holds_predicted_beside_taken(
    results: Path, tmp_path: Path, capsys: Capture
) -> None:
    log = log_of(tmp_path)
    assert main(["explain", str(log), "--device", "this", "--results-dir", str(results)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "predicted a step takes " in text
    assert "on made up (float32, batch 12, eager); 80 % interval " in text
    assert "in this log it took 37.0 ms, " in text
    assert "Grade anchored: this device was probed" in text


def test_a_machine_that_was_busy_is_said(tmp_path: Path, capsys: Capture) -> None:
    probe = MadeUp().probe(ANCHORS, threads=threads_of(None), unsteady_ratio=0.4)
    document.save(PROBE, probe, tmp_path)
    said = predicted(capsys, tmp_path, log_of(tmp_path), "--device", "this")
    assert "was busy while it was probed: two halves of the probe lie 40 % apart" in said["doubt"]


def test_without_a_probe_or_a_device_nothing_is_predicted(
    results: Path, tmp_path: Path, capsys: Capture
) -> None:
    log = log_of(tmp_path)
    assert predicted(capsys, tmp_path / "none", log, "--device", "this") is None
    assert predicted(capsys, results, log) is None
    assert predicted(capsys, results, log, "--device", "abacus") is None
    assert predicted(capsys, results, log, "--device", "NVIDIA A100") is None, "two bandwidths"


def test_a_probe_with_other_threads_is_no_probe_of_this_run(
    tmp_path: Path, capsys: Capture
) -> None:
    probe = MadeUp().probe(ANCHORS, threads=threads_of(None) + 1)
    document.save(PROBE, probe, tmp_path)
    assert predicted(capsys, tmp_path, log_of(tmp_path), "--device", "this") is None


def test_a_device_by_its_name_is_of_grade_table(
    results: Path, tmp_path: Path, capsys: Capture
) -> None:
    changes = {"device": "cuda", "dtype": "bfloat16"}
    said = predicted(capsys, results, log_of(tmp_path, changes), "--device", CARD)
    assert (said["device_name"], said["grade"]) == (CARD, "table")
    assert said["setting"] == "bfloat16, batch 12, eager"
    assert said["low_s"] < said["step_s"] < said["high_s"]


def test_what_the_log_says_of_the_training_is_predicted(
    results: Path, tmp_path: Path, capsys: Capture
) -> None:
    plain = predicted(capsys, results, log_of(tmp_path), "--device", "this")
    dropping = predicted(capsys, results, log_of(tmp_path, {"dropout": 0.2}), "--device", "this")
    assert dropping["step_s"] > plain["step_s"]
    # 12 sequences are 3 batches of 4 for one update.
    parts = log_of(tmp_path, {"batch_size": 4, "gradient_accumulation_steps": 3})
    accumulated = predicted(capsys, results, parts, "--device", "this")
    assert accumulated["setting"] == "float32, batch 4 accumulated 3 times, eager"
    known = known_device("here", results)
    several = setting(batch_size=4, gradient_accumulation_steps=3)
    own = predict(several, known.machine, iterations=1)
    assert accumulated["step_s"] == pytest.approx(own.step_s)
    # Steps of this mode were not run here, so that the grade is lower.
    compiling = log_of(tmp_path, {"compile": True}, said="compiling the model... (takes a ~minute)")
    compiled = predicted(capsys, results, compiling, "--device", "this")
    assert compiled["setting"].endswith("compiled")
    assert compiled["grade"] == "ceilings"


def test_what_cannot_be_predicted_says_why(results: Path, tmp_path: Path, capsys: Capture) -> None:
    of_two = log_of(tmp_path, {"batch_size": 6}, ranks=2)
    two = predicted(capsys, results, of_two, "--device", "this", "--ranks", "2")
    assert two["step_s"] is two["grade"] is None
    assert two["problem"] == "ranks wait for each other, which is not predicted"
    log = log_of(tmp_path)
    text = log.read_bytes()
    log.write_bytes(text.replace(b"Overriding: n_head = 4\n", b""))
    headless = predicted(capsys, results, log, "--device", "this")
    assert headless["problem"] == "the number of heads is not known; give --n-head N"
    told = predicted(capsys, results, log, "--device", "this", "--n-head", "4")
    assert told["problem"] is None
    log.write_bytes(text.replace(b"Overriding: batch_size = 12\n", b""))
    unsized = predicted(capsys, results, log, "--device", "this")
    assert unsized["problem"] == "the batch size is not known; give --batch-size N"
    assert main(["explain", str(log), "--device", "this", "--results-dir", str(results)]) == 0
    assert "no step on made up: the batch size is not known" in capsys.readouterr().out


def test_what_does_not_fit_has_no_number(tmp_path: Path, capsys: Capture) -> None:
    probe = MadeUp().probe(ANCHORS, threads=threads_of(None), total_memory_bytes=10**6)
    document.save(PROBE, probe, tmp_path)
    said = predicted(capsys, tmp_path, log_of(tmp_path), "--device", "this")
    assert said["step_s"] is said["took_ratio"] is None
    assert "it needs about " in said["problem"]


def test_it_is_read_without_torch(results: Path, tmp_path: Path) -> None:
    typed = ["explain", str(log_of(tmp_path)), "--device", "this", "--results-dir", str(results)]
    code = (
        "import sys; from mfubench.cli import main; "
        f"assert main({typed!r}) == 0; "
        "assert not {'torch', 'pandas'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "a step takes" in done.stdout
