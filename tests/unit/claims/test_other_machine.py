"""The other machine's loop is found in a saved run, and in no other file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mfubench.claims.rules.other_machine import gpu_loop_among, loops_of
from mfubench.results.read import read_result
from tests.unit.report.example_results import reference


def info(**fields: Any) -> dict[str, Any]:
    measured = {
        "case_id": "x",
        "question": "train-loop",
        "preset": "nanogpt-cpu",
        "device": "cuda",
        "dtype": "tf32",
        "batch_size": 12,
        "compile": False,
        "outcome": "ok",
        "rounds": 3,
        "step_s": 0.002,
        "tokens_per_step": 768,
        "tokens_per_s": 400_000.0,
        "model_flops_per_step": 10**9,
        "achieved_flops_per_s": 5e11,
        "warmup_s": 1.0,
        "loss": 4.0,
        "predicted_training_s": 5.0,
    }
    return {**measured, **fields}


def saved(tmp_path: Path, *infos: dict[str, Any], name: str = "x") -> Path:
    """A saved run with these cases."""
    stats = {"min": 1, "max": 1, "mean": 1, "median": 1, "rounds": 1, "data": [1.0]}
    data = reference()
    data["mfubench"]["fingerprint"]["id"] = "desktop"
    data["mfubench"]["devices"] = {"cuda": {"name": "NVIDIA GeForce RTX 4070 Ti"}}
    data["mfubench"]["other_outcomes"] = []
    data["benchmarks"] = [
        {"name": "x", "fullname": "x", "stats": stats, "extra_info": info} for info in infos
    ]
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_only_the_same_set_up_counts_and_the_fastest_comes_first(tmp_path: Path) -> None:
    path = saved(
        tmp_path,
        info(),
        info(dtype="bfloat16", tokens_per_s=500_000.0),
        info(device="cpu", tokens_per_s=20_000.0),
        info(batch_size=48),
        info(compile=True),
        info(preset="gpt2"),
        info(question="train-step", tokens_per_s=9e9),
    )
    loops = loops_of(read_result(path), preset="nanogpt-cpu", batch_size=12)
    assert [loop.tokens_per_s for loop in loops] == [500_000.0, 400_000.0, 20_000.0]
    assert [loop.on_cpu for loop in loops] == [False, False, True]
    assert loops[0].name == "NVIDIA GeForce RTX 4070 Ti (bfloat16, desktop)"


def test_a_run_without_a_loop_gives_its_steps(tmp_path: Path) -> None:
    path = saved(tmp_path, info(question="train-step", predicted_training_s=None))
    (loop,) = loops_of(read_result(path), preset="nanogpt-cpu", batch_size=12)
    assert loop.predicted_training_s is None


def test_files_that_are_no_results_are_passed_over(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    cpu = saved(tmp_path, info(device="cpu"), name="cpu")
    gpu = saved(tmp_path, info(), name="gpu")
    found = gpu_loop_among([broken, cpu, gpu], preset="nanogpt-cpu", batch_size=12)
    assert found is not None
    assert found[1] == gpu
    assert gpu_loop_among([broken, cpu], preset="nanogpt-cpu", batch_size=12) is None
