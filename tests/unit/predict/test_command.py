"""`mfubench predict` as it is typed, on a machine whose probe is made up and stored."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from mfubench.cli import main
from mfubench.hardware.fingerprint import fingerprint
from mfubench.predict.document import FrozenPredictions, PredictionTest, Probe
from mfubench.predict.here import torch_version
from mfubench.predict.machine import PROBE, threads_of
from mfubench.report.bodies import BODIES
from mfubench.results import document
from tests.unit.predict.made_up_machine import ANCHORS, MadeUp

CONTRACT = {
    *("preset", "device", "dtype", "batch_size", "block_size", "compile"),
    *("step_s", "low_s", "high_s", "tokens_per_s", "mfu", "peak_memory_bytes", "run_s"),
    *("grade", "binds", "outside", "terms"),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results with a probe of this machine, eager and compiled."""
    folder = tmp_path_factory.mktemp("results")
    compiled = [msgspec.structs.replace(one, compile=True) for one in ANCHORS]
    probe = MadeUp().probe(
        [*ANCHORS, *compiled], threads=threads_of(None), torch_version=torch_version()
    )
    document.save(PROBE, probe, folder)
    return folder


def asked(results: Path, *words: str) -> list[str]:
    return ["predict", "--results-dir", str(results), *words]


def test_the_contract_of_json(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(asked(results, "--json", "--compile", "both", "--batch-sizes", "12,48")) == 0
    data = json.loads(capsys.readouterr().out)
    assert len(data["predictions"]) == 4
    for one in data["predictions"]:
        assert set(one) >= CONTRACT
        assert one["low_s"] < one["step_s"] < one["high_s"]
        assert one["tokens_per_s"] == pytest.approx(one["batch_size"] * 64 / one["step_s"])
        assert one["run_s"] > 2000 * one["step_s"]
        assert one["grade"] == "anchored"
        assert one["outside"] is None
        assert {"name", "seconds", "basis"} == set(one["terms"][0])


def test_the_probe_is_taken_and_nothing_heavy_is_loaded(results: Path) -> None:
    code = (
        "import sys; from mfubench.cli import main; main(sys.argv[1:]); "
        "print([m for m in ('torch', 'pandas', 'scipy', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *asked(results)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "nanogpt-cpu float32-b12-eager" in done.stdout
    assert "probing" not in done.stderr


def test_a_table_names_grade_and_interval(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(results, "--devices", "here,NVIDIA GeForce RTX 4070 Ti")) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "made up (cpu)" in text
    assert "NVIDIA GeForce RTX 4070 Ti" in text
    assert "anchored: this device was probed" in text
    assert "table: nothing was measured on such a device" in text


def test_where_nothing_was_probed_there_is_no_number_and_a_status(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(results, "--preset", "gpt2-xl", "--batch-sizes", "100000")) == 1
    assert "outside of what was probed" in " ".join(capsys.readouterr().out.split())


def test_fastest_ranks_what_learns_the_same(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(results, "--fastest", "--json")) == 0
    data = json.loads(capsys.readouterr().out)
    rates = [one["tokens_per_s"] for one in data["predictions"]]
    assert rates == sorted(rates, reverse=True)
    tokens = {one["batch_size"] * one["gradient_accumulation_steps"] for one in data["predictions"]}
    assert tokens == {12}
    assert data["next"].startswith("To make sure: mfubench predict --run --preset nanogpt-cpu")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--n-embd", "128", "--preset", "gpt2", "--n-head", "5"], "multiple of n_head"),
        (["--n-embd", "128"], "missing: --n-layer"),
        (["--devices", "RTX 4070 Tii"], "did you mean 'NVIDIA GeForce RTX 4070 Ti'?"),
        (["--devices", "here,,cpu"], "empty name"),
        (["--iterations", "0"], "allowed: 1 to"),
        (["--gradient-accumulation-steps", "0"], "allowed: 1 to"),
        (["--devices", "NVIDIA L4", "--run"], "on this machine"),
        (["--self-test", "--budget", "1s"], "too short for a self-test"),
    ],
)
def test_bad_input_is_one_sentence(
    words: list[str], message: str, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(results, *words)) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert len(streams.err.strip().splitlines()) == 1
    assert message in streams.err


def test_a_folder_without_ceilings_says_what_to_type_there(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(results, "--devices", str(tmp_path))) == 2
    text = capsys.readouterr().err
    assert "has no stored ceilings" in text
    assert "mfubench bench --only ceilings" in text


def test_a_stored_result_of_another_version_is_named(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "Linux-CPython-3.11-64bit"
    folder.mkdir()
    run = {"benchmarks": [], "mfubench": {"schema_version": 99, "mfubench_version": "9"}}
    (folder / "0001_x_20261126_000000.json").write_text(json.dumps(run), encoding="utf-8")
    assert main(asked(results, "--devices", str(tmp_path))) == 2
    assert "has schema version 99" in capsys.readouterr().err


def test_another_machines_folder_is_predicted_from_its_own_probe(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = results / fingerprint().id
    assert main(asked(results, "--devices", str(folder), "--json")) == 0
    (one,) = json.loads(capsys.readouterr().out)["predictions"]
    assert one["grade"] == "anchored"


def test_the_documents_are_known_to_reading_and_to_the_schema() -> None:
    types = {"probe": Probe, "prediction": FrozenPredictions, "prediction-test": PredictionTest}
    assert {kind: BODIES[kind] for kind in types} == types
