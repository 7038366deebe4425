"""Thirty scripts, each run bare and under `mfubench run`: the same output bit for bit, the same
exit status, steps found or a sentence why not, and FLOPs equal to a count by hand."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mfubench_model.config import GPTConfig
from mfubench_model.flops import hardware_flops_per_step, model_flops_per_step

DRIVE = Path(__file__).parent / "drive.py"
if not hasattr(os, "fork"):
    pytest.skip("the driver forks", allow_module_level=True)

LINEAR = 2 * 8 * 16 * 4
"""Forward of one layer 16 → 4 on 8 rows; backward is as much, for no input needs a gradient."""
MLP = 2 * 8 * (16 * 32 + 32 * 4)
"""Forward of 16 → 32 → 4 on 8 rows."""
MLP_STEP = 2 * MLP + 2 * 8 * 32 * 4
"""Backward: every weight's gradient, and the gradient of the second layer's input."""
GPT = GPTConfig(block_size=8, vocab_size=32, n_layer=2, n_head=2, n_embd=16, bias=False)


@dataclass(frozen=True)
class Expected:
    """What a script's record must say."""

    steps: int
    flops: int | None
    hardware: int | None = None
    accumulation: int | None = 1
    boundary: str = "SGD.step"
    tokens: int | None = None


def _transformer() -> int:
    """One encoder layer over 6 positions and one decoder layer over 5, width 16, 2 sequences."""
    batch, width, inner, source, target = 2, 16, 32, 6, 5

    def layer(tokens: int, attentions: int) -> int:
        projections = attentions * 4 * width * width
        return 2 * batch * tokens * (projections + 2 * width * inner)

    memory = 2 * batch * (source - target) * 2 * width * width  # keys and values of the encoder's
    pairs = source * source + target * (target + 1) // 2 + target * source  # the target's causal
    scores = 2 * 2 * batch * pairs * width
    forward = layer(source, 1) + layer(target, 2) + memory + scores
    first = 2 * batch * (source + target) * 3 * width * width  # the inputs need no gradient
    return 3 * forward - first


CONVOLUTIONS = [2 * 5 * 8 * 16 * 3 * 9, 2 * 5 * 8 * 16 * 2 * 9, 2 * 5 * 8 * 16 * 2 * 4]
LSTM = 2 * 4 * 7 * 40 * (6 + 10)
MIDDLE = 2 * 8 * 32 * 32
CHECKPOINTED = 3 * (2 * 8 * (16 * 32 + 32 * 4) + MIDDLE) - 2 * 8 * 16 * 32

EXPECTED = {
    "mlp": Expected(13, MLP_STEP),
    "gpt_loop": Expected(
        13,
        model_flops_per_step(GPT, 8),
        hardware_flops_per_step(GPT, 8),
        accumulation=2,
        boundary="AdamW.step",
        tokens=64,
    ),
    # Generator once; critic forward three times, backward three times, its input's gradient once.
    "gan": Expected(
        11,
        2 * (2 * 16 * 4 * 8) + 7 * (2 * 16 * 8),
        accumulation=2,
        boundary="RMSprop.step recurs; in each step: Adam once",
    ),
    "gan_critic": Expected(
        11,
        3 * (2 * 16 * 4 * 8 + 4 * 2 * 16 * 8) + 2 * (2 * 16 * 4 * 8) + 3 * (2 * 16 * 8),
        accumulation=4,
        boundary="Adam.step recurs; in each step: RMSprop 3 times",
    ),
    # Forward, its gradient (one product), and the gradients of both.
    "gradient_penalty": Expected(9, 6 * 2 * 16 * 8 * 8),
    "scaler_infinite": Expected(
        13, MLP_STEP, boundary="SGD.step; 2 steps were skipped by the gradient scaler"
    ),
    "accumulation": Expected(11, 4 * MLP_STEP, accumulation=4),
    "lbfgs": Expected(
        11, 2 * LINEAR, -1, boundary="LBFGS.step, with a closure that holds forward and backward"
    ),
    "step_in_backward": Expected(13, MLP_STEP, boundary="called inside backward"),
    "compiled_model": Expected(13, MLP_STEP),
    "compiled_optimizer": Expected(12, MLP_STEP, boundary="a parameter changed in place"),
    "loader_workers": Expected(13, MLP_STEP),
    "iterable_dataset": Expected(13, MLP_STEP),
    "recomputing": Expected(11, CHECKPOINTED, CHECKPOINTED + MIDDLE),
    "recomputing-reentrant": Expected(11, CHECKPOINTED, CHECKPOINTED + MIDDLE),
    "frozen_layers": Expected(11, 2 * 8 * 16 * 32 + 2 * (2 * 8 * 32 * 4), boundary="Adam.step"),
    "tied_head": Expected(11, 3 * 2 * 40 * 16 * 50, boundary="AdamW.step", tokens=40),
    "convolutions": Expected(11, 3 * sum(CONVOLUTIONS) - CONVOLUTIONS[0]),
    "recurrent": Expected(11, 3 * LSTM),
    "mixture_of_experts": Expected(13, None),
    "evaluation_between": Expected(15, MLP_STEP),
    "evaluation_quiet": Expected(15, MLP_STEP),
    "teacher": Expected(11, 3 * LINEAR),
    "fails": Expected(11, 2 * LINEAR),
    "exits": Expected(11, 2 * LINEAR),
    "update_by_hand": Expected(12, 2 * LINEAR, boundary="a parameter changed in place"),
    "transformer": Expected(9, _transformer(), -1, boundary="AdamW.step"),
    "custom_operator": Expected(9, 2 * LINEAR),
    "patches_step": Expected(9, 2 * LINEAR),
    "own_profiler": Expected(11, 2 * LINEAR),
    "forks": Expected(11, 2 * LINEAR),
}
LIBRARIES = {
    "hf_trainer": ("transformers", "accelerate"),
    "accelerate_loop": ("accelerate",),
    "lightning_module": ("lightning",),
}
STATUS = {"fails": 1, "exits": 3}


class Runs:
    """What the driver left behind."""

    def __init__(self, folder: Path, statuses: Mapping[str, list[int]]) -> None:
        self.folder, self.statuses = folder, statuses

    def text(self, name: str, which: str) -> str:
        return (self.folder / f"{name}.{which}").read_text(encoding="utf-8")

    def said(self, name: str) -> str:
        """What was printed on standard error, on one line."""
        return " ".join(self.text(name, "run.err").split())

    def info(self, name: str) -> dict[str, Any]:
        info: dict[str, Any] = json.loads(self.text(name, "json"))
        return info


def drive(folder: Path, scripts: list[str]) -> Runs:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "inductor")
    done = subprocess.run(
        [sys.executable, str(DRIVE), str(folder), *scripts],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return Runs(folder, json.loads(done.stdout))


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    scripts = [name.replace("-", ".py ") if "-" in name else f"{name}.py" for name in EXPECTED]
    return drive(tmp_path_factory.mktemp("scripts"), [*scripts, "no_optimizer.py"])


@pytest.mark.parametrize("name", [*EXPECTED, "no_optimizer"])
def test_a_script_prints_and_ends_as_without_us(runs: Runs, name: str) -> None:
    assert runs.text(name, "run.out") == runs.text(name, "bare.out")
    assert runs.text(name, "run.out").count("\n") >= 6
    assert runs.statuses[name] == [STATUS.get(name, 0)] * 2


@pytest.mark.parametrize("name", EXPECTED)
def test_its_steps_are_found(runs: Runs, name: str) -> None:
    info, expected = runs.info(name), EXPECTED[name]
    assert (info["outcome"], info["question"]) == ("ok", "script")
    assert info["steps_seen"] == expected.steps
    assert info["accumulation"] == expected.accumulation
    assert expected.boundary in info["boundary"]
    assert info["tokens_per_step"] == expected.tokens


@pytest.mark.parametrize("name", [n for n, e in EXPECTED.items() if e.flops is not None])
def test_its_flops_are_those_counted_by_hand(runs: Runs, name: str) -> None:
    info, expected = runs.info(name), EXPECTED[name]
    assert info["model_flops_per_step"] == expected.flops
    if expected.hardware != -1:
        assert info["hardware_flops_per_step"] == (expected.hardware or expected.flops)
    assert not info["flops_vary"]


def test_flops_that_follow_the_data_are_said_to_vary(runs: Runs) -> None:
    info = runs.info("mixture_of_experts")
    rows = [
        int(line.split()[0]) for line in runs.text("mixture_of_experts", "run.out").splitlines()
    ]
    per_row = 2 * (2 * 8 * 8)  # forward and the weight's gradient
    # Counted are the steps after the first, the fourth and the ninth.
    assert info["flops_counted_steps"] == [rows[i] * per_row for i in (1, 4, 9)]
    assert info["flops_vary"]
    assert "Steps differ in their FLOPs" in runs.said("mixture_of_experts")


def test_without_a_step_the_record_says_why(runs: Runs) -> None:
    info = runs.info("no_optimizer")
    assert info["outcome"] == "unsupported"
    assert "6 backward passes were seen, but no optimizer" in info["outcome_reason"]
    assert info["tokens_per_s"] is None


def test_recomputation_is_told_apart(runs: Runs) -> None:
    assert runs.info("recomputing")["flops_recomputed"] == MIDDLE
    assert "recomputed by activation checkpointing" in runs.said("recomputing")


def test_an_operator_that_nobody_can_count_is_named_with_its_share(runs: Runs) -> None:
    info = runs.info("custom_operator")
    assert [entry["operator"] for entry in info["flops_uncounted"]] == ["shop::mix"]
    assert info["flops_uncounted_share"] > 0
    assert info["flops_are_a_lower_bound"] == (info["flops_uncounted_share"] > 0.02)


def test_a_causal_call_counts_half_and_the_full_figure_stands_beside_it(runs: Runs) -> None:
    info = runs.info("gpt_loop")
    full = model_flops_per_step(GPT, 8, causal=False)
    assert info["flops_full_attention_per_step"] == full
    assert info["closed_form_flops_per_step"] == info["model_flops_per_step"]
    assert info["flops_forward"] * 3 == info["model_flops_per_step"]
    assert "which is the closed form exactly" in runs.said("gpt_loop")


def test_modules_add_up_to_the_step(runs: Runs) -> None:
    info = runs.info("gpt_loop")
    by_module = {(m["phase"], m["module"]): m["model_flops"] for m in info["flops_by_module"]}
    assert sum(by_module.values()) == info["model_flops_per_step"]
    assert by_module["backward", "GPT.blocks.*.up"] == 2 * by_module["forward", "GPT.blocks.*.up"]
    by_operator = sum(row["model_flops"] for row in info["flops_by_operator"])
    assert by_operator == info["model_flops_per_step"]


def test_nanogpts_own_mfu_is_asked_of_its_model(runs: Runs) -> None:
    info = runs.info("gpt_loop")
    parameters = 2 * 12 * 16 * 16 + 5 * 16 * 2 + 32 * 16
    per_step = (6 * parameters + 12 * 2 * 16 * 8) * 8 * 8
    assert info["nanogpt_flops_per_step"] == pytest.approx(per_step, rel=1e-9)
    assert info["mfu_a100"] == pytest.approx(per_step / info["step_s"] / 312e12)


def test_evaluation_is_a_pause_and_no_step(runs: Runs) -> None:
    info = runs.info("evaluation_between")
    assert info["evaluations"] == 4
    assert info["evaluation_total_s"] >= 4 * 0.05
    assert runs.info("gpt_loop")["checkpoints"] == 2


def test_evaluation_that_nobody_announced_is_a_pause_too(runs: Runs) -> None:
    info = runs.info("evaluation_quiet")
    assert info["evaluations"] == 6
    assert info["evaluation_total_s"] >= 4 * 0.05
    assert info["loader_batches"] == 0
    assert runs.info("teacher")["evaluations"] == 0


def test_a_loader_is_seen(runs: Runs) -> None:
    assert runs.info("loader_workers")["loader_batches"] == 1
    assert runs.info("loader_workers")["loader_wait_s"] > 0


def test_the_traceback_is_the_scripts_own(runs: Runs) -> None:
    text = runs.text("fails", "run.err")
    assert "ValueError: the disk is full" in text
    assert "mfubench/script" not in text.partition("ValueError")[0]
    assert runs.info("fails")["ended_early"] == "the script failed: ValueError: the disk is full"


def test_a_forked_child_reports_nothing(runs: Runs) -> None:
    assert runs.text("forks", "run.out").count("child") == 1
    assert runs.text("forks", "run.err").count("Steps were found") == 1


def test_a_run_is_saved_as_a_valid_result(runs: Runs) -> None:
    from mfubench.results.read import read_json, read_result
    from mfubench.results.schema import problems
    from mfubench.results.write import json_text

    for name in ("gpt_loop", "no_optimizer"):
        (path,) = (runs.folder / f"{name}.results").rglob("0001_*.json")
        assert problems(read_json(path)) == []
        result = read_result(path)
        ((record, _),) = result.records
        assert json.loads(json_text(record.as_extra_info())) == runs.info(name)
    saved = json.loads(next((runs.folder / "mlp.results").rglob("0001_*.json")).read_text())
    assert len(saved["benchmarks"][0]["stats"]["data"]) == runs.info("mlp")["rounds"]


HF = GPTConfig(block_size=8, vocab_size=40, n_layer=1, n_head=2, n_embd=16)


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_is_measured_as_a_script_is(name: str, tmp_path: Path) -> None:
    for library in LIBRARIES[name]:
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
    runs = drive(tmp_path, [f"{name}.py"])
    assert runs.text(name, "run.out") == runs.text(name, "bare.out")
    assert runs.statuses[name] == [0, 0]
    info = runs.info(name)
    assert info["outcome"] == "ok"
    if name == "hf_trainer":
        assert (info["steps_seen"], info["accumulation"]) == (11, 2)
        assert info["tokens_per_step"] == 64
        assert info["model_flops_per_step"] == model_flops_per_step(HF, 8)
    else:
        backwards = 2 if name == "accelerate_loop" else 1
        assert info["accumulation"] == backwards
        assert info["model_flops_per_step"] == backwards * MLP_STEP
        assert info["steps_seen"] == {"accelerate_loop": 11, "lightning_module": 13}[name]
    if name == "lightning_module":
        assert info["evaluations"] == 1
        assert info["evaluation_total_s"] >= 0.05
