"""`mfubench predict` as it is typed, on a machine whose probe is made up and stored."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from mfubench_model.flops import model_flops_per_step
from mfubench_model.presets import PRESETS

from mfubench.cli import main
from mfubench.hardware.fingerprint import fingerprint
from mfubench.predict.counted import COUNT, CountedOperator, CountedStep
from mfubench.predict.document import FrozenPredictions, PredictionTest, Probe, Setting
from mfubench.predict.here import torch_version
from mfubench.predict.machine import PROBE, threads_of
from mfubench.predict.operators import operators
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


def counted_file(folder: Path, **changes: object) -> str:
    """A counted step that is nanoGPT's own GPT of the preset nanogpt-cpu, saved."""
    setting = Setting.of(
        PRESETS["nanogpt-cpu"].config,
        preset=None,
        device="cpu",
        dtype="float32",
        batch_size=12,
        compile=False,
    )
    step = CountedStep(
        script="train.py --its-options",
        dtype="float32",
        tokens_per_step=768,
        model_flops_per_step=model_flops_per_step(setting.config, 12),
        operators=[
            CountedOperator(operator=one.name, shape=list(one.shape), count=one.count)
            for one in operators(setting)
            if one.name != "step"
        ],
        unknown={},
        optimizer="AdamW",
    )
    said = document.save(COUNT, msgspec.structs.replace(step, **changes), folder)
    return said.removeprefix("saved in ")


def test_a_counted_step_has_the_time_of_the_same_sizes(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = counted_file(tmp_path)
    assert main(asked(results, "--json", "--compile", "both")) == 0
    wanted = json.loads(capsys.readouterr().out)["predictions"]
    assert main(asked(results, "--json", "--compile", "both", "--counted", path)) == 0
    found = json.loads(capsys.readouterr().out)["predictions"]
    assert len(found) == len(wanted) == 2
    for one, other in zip(found, wanted, strict=True):
        assert set(one) >= CONTRACT
        for field in ("step_s", "low_s", "high_s", "tokens_per_s", "mfu", "grade", "compile"):
            assert one[field] == other[field]
        assert one["run_s"] == pytest.approx(2000 * one["step_s"])
        assert one["script"] == "train.py --its-options"
        assert one["n_layer"] is None
        assert one["peak_memory_bytes"] is None


def test_a_counted_step_with_what_no_probe_has_gets_no_number(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = counted_file(tmp_path, unknown={"aten::convolution": 3}, optimizer="SGD")
    assert main(asked(results, "--counted", path)) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "outside of what was probed: aten::convolution of train.py" in text
    assert "The update of SGD is predicted as AdamW's." in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--fastest"], "so --fastest has nothing to do"),
        (["--n-embd", "64"], "so --n-embd has nothing to do"),
        (["--batch-sizes", "12"], "so --batch-sizes has nothing to do"),
    ],
)
def test_a_counted_step_has_its_own_sizes(
    words: list[str],
    message: str,
    results: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(asked(results, "--counted", counted_file(tmp_path), *words)) == 2
    assert message in capsys.readouterr().err


def test_another_document_is_no_counted_step(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = results.glob("*/probe/*.json")
    assert main(asked(results, "--counted", str(path))) == 2
    assert (
        "is of kind probe; give a file that mfubench run --count saved" in capsys.readouterr().err
    )


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
