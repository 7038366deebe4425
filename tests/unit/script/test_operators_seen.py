"""`mfubench run --count`: what is seen of a live GPT is its closed form, operator by operator."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from mfubench_model.config import GPTConfig
from mfubench_model.flops import model_flops_per_step
from mfubench_model.gpt import GPT

from mfubench.predict.counted import COUNT, CountedStep
from mfubench.predict.document import Setting
from mfubench.predict.operators import operators
from mfubench.results.read import read_document
from mfubench.script.run import EnoughSteps, TrainingRun

SCRIPTS = Path(__file__).parent / "scripts"
BATCH = 3


def config(**sizes: object) -> GPTConfig:
    small: dict[str, object] = {"block_size": 8, "vocab_size": 32, "n_layer": 2, "n_head": 2}
    return GPTConfig(**{**small, "n_embd": 16, "bias": False, **sizes})  # type: ignore[arg-type]


def counted(run: TrainingRun) -> Counter[tuple[str, tuple[int, ...]]]:
    assert run.operators is not None
    rows = run.operators.rows(run.recorder.parameters())
    return Counter({(row.operator, tuple(row.shape)): row.count for row in rows})


def watched(model: torch.nn.Module, loss: object, *, batches: int = 1) -> TrainingRun:
    """A run that ends when a step is counted."""
    optimizer = torch.optim.AdamW(model.parameters())

    def train() -> None:
        for _ in range(20):
            for _ in range(batches):
                loss().backward()  # type: ignore[operator]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    run = TrainingRun(count=True)
    run.start()
    try:
        with pytest.raises(EnoughSteps):
            train()
    finally:
        run.stop()
    return run


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("batches", [1, 2])
def test_a_gpt_is_its_closed_form(bias: bool, batches: int) -> None:
    sizes = config(bias=bias)
    model = GPT(sizes)
    tokens = torch.randint(sizes.vocab_size, (BATCH, sizes.block_size))
    run = watched(model, lambda: model(tokens, tokens)[1], batches=batches)
    setting = Setting.of(
        sizes,
        preset=None,
        device="cpu",
        dtype="float32",
        batch_size=BATCH,
        compile=False,
        gradient_accumulation_steps=batches,
    )
    wanted: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for one in operators(setting):
        wanted[one.name, one.shape] += one.count
    del wanted["step", (1,)]
    assert counted(run) == wanted
    assert run.operators is not None
    assert not run.operators.unknown


def test_attention_that_is_not_fused_is_counted_by_its_parts() -> None:
    sizes = config(dropout=0.2, block_size=4)
    model = GPT(sizes)
    tokens = torch.randint(sizes.vocab_size, (BATCH, sizes.block_size))
    found = counted(watched(model, lambda: model(tokens, tokens)[1]))
    context, head_size = sizes.block_size, 8
    scores = 2 * BATCH * context**2
    assert found["linear", (2 * BATCH * context, head_size, context)] == sizes.n_layer
    assert found["linear", (2 * BATCH * context, context, head_size)] == sizes.n_layer
    assert found["gelu", (scores,)] == sizes.n_layer  # the softmax
    assert found["dropout", (scores,)] == sizes.n_layer


def test_what_a_probe_does_not_have_is_named() -> None:
    model = torch.nn.Conv1d(3, 4, 3)
    images = torch.randn(2, 3, 16)
    run = watched(model, lambda: model(images).square().mean())
    assert run.operators is not None
    assert dict(run.operators.unknown) == {"aten::convolution": 1}


def test_evaluation_and_what_needs_no_gradient_are_no_part_of_it() -> None:
    model = torch.nn.Linear(4, 4, bias=False)
    images = torch.randn(5, 4)

    def loss() -> torch.Tensor:
        with torch.no_grad():
            model(torch.randn(7, 4))
        return torch.as_tensor(model(images).sum())

    found = counted(watched(model, loss))
    assert found["linear", (5, 4, 4)] == 1
    assert found["linear", (7, 4, 4)] == 0


def run_count(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mfubench", "run", "--count", "--results-dir", str(folder)]
    return subprocess.run([*command, *words], capture_output=True, text=True, check=False)


def test_it_is_saved_and_the_script_ends(tmp_path: Path) -> None:
    done = run_count(tmp_path, str(SCRIPTS / "gpt_loop.py"))
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*/*/*.json")  # and no run
    assert path.parent.name == COUNT
    assert f"mfubench predict --counted {path}" in done.stderr
    step = read_document(path).read(CountedStep)
    assert step.model_flops_per_step == model_flops_per_step(config(), 8)
    assert step.tokens_per_step == 64
    assert step.dtype == "float32"


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("", 1, "nothing was saved: no optimizer step was seen that could be counted"),
        ("raise SystemExit(7)\n", 7, "nothing was saved"),
    ],
)
def test_a_script_without_steps_saves_nothing(
    code: str, status: int, words: str, tmp_path: Path
) -> None:
    script = tmp_path / "nothing.py"
    script.write_text(f"import torch\n{code}", encoding="utf-8")
    done = run_count(tmp_path, str(script))
    assert done.returncode == status
    assert words in done.stderr
    assert not list(tmp_path.glob("*/*"))


def test_what_times_something_is_refused_beside_it(tmp_path: Path) -> None:
    done = run_count(tmp_path, "--breakdown", str(SCRIPTS / "gpt_loop.py"))
    assert done.returncode != 0
    assert "--count times nothing, so --breakdown has nothing to do" in done.stderr
    assert not done.stdout
