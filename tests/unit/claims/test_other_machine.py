"""The other machine's loop is found in a saved run, and in no other file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mfubench.claims.rules.other_machine import gpu_loop_among, loops_of
from mfubench.results.read import Result


def info(**fields: Any) -> dict[str, Any]:
    return {
        "case_id": "x",
        "outcome": "ok",
        "question": "train-loop",
        "preset": "nanogpt-cpu",
        "device": "cuda",
        "dtype": "tf32",
        "batch_size": 12,
        "compile": False,
        "tokens_per_s": 400_000.0,
        "predicted_training_s": 5.0,
        **fields,
    }


def result(*infos: dict[str, Any]) -> dict[str, Any]:
    return {
        "benchmarks": [{"extra_info": i} for i in infos],
        "mfubench": {
            "fingerprint": {"id": "desktop"},
            "devices": {"cuda": {"name": "NVIDIA GeForce RTX 4070 Ti"}},
        },
    }


def test_only_the_same_set_up_counts_and_the_fastest_comes_first() -> None:
    data = result(
        info(),
        info(dtype="bfloat16", tokens_per_s=500_000.0),
        info(device="cpu", tokens_per_s=20_000.0),
        info(batch_size=48),
        info(compile=True),
        info(preset="gpt2"),
        info(outcome="invalid", tokens_per_s=None),
        info(question="train-step", tokens_per_s=9e9),
    )
    loops = loops_of(Result(Path("x.json"), data), preset="nanogpt-cpu", batch_size=12)
    assert [loop.tokens_per_s for loop in loops] == [500_000.0, 400_000.0, 20_000.0]
    assert [loop.on_cpu for loop in loops] == [False, False, True]
    assert loops[0].name == "NVIDIA GeForce RTX 4070 Ti (bfloat16, desktop)"


def test_a_run_without_a_loop_gives_its_steps() -> None:
    data = result(info(question="train-step", predicted_training_s=None))
    (loop,) = loops_of(Result(Path("x.json"), data), preset="nanogpt-cpu", batch_size=12)
    assert loop.predicted_training_s is None


def test_files_that_are_no_results_are_passed_over(tmp_path: Path) -> None:
    broken, cpu, gpu = (tmp_path / f"{n}.json" for n in ("broken", "cpu", "gpu"))
    broken.write_text("{")
    cpu.write_text(json.dumps(result(info(device="cpu"))))
    gpu.write_text(json.dumps(result(info())))
    found = gpu_loop_among([broken, cpu, gpu], preset="nanogpt-cpu", batch_size=12)
    assert found is not None
    assert found[1] == gpu
    assert gpu_loop_among([broken, cpu], preset="nanogpt-cpu", batch_size=12) is None
