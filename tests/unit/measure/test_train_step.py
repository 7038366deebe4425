"""The timed step is nanoGPT's step: same losses, and nothing else in it."""

from __future__ import annotations

import pytest
import torch
from mfubench_model.batches import sample_batch
from mfubench_model.gpt import GPT
from mfubench_model.optimizer import make_adamw

from mfubench.hardware.devices import CpuDevice
from mfubench.measure.bare import bare_step
from mfubench.measure.gpt_workload import GPTWorkload
from mfubench.measure.precision import matmul_precision
from mfubench.measure.train_loop import Amortised, TrainLoop, learning_rate
from mfubench.measure.train_step import SEED, TrainStep


@pytest.fixture
def step(tiny_workload: GPTWorkload) -> TrainStep:
    return TrainStep(tiny_workload, CpuDevice(), dtype="float32", compile=False)


def test_losses_equal_those_of_a_hand_written_loop(
    step: TrainStep, tiny_workload: GPTWorkload
) -> None:
    preset = tiny_workload.preset
    torch.manual_seed(SEED)
    model = GPT(preset.config)
    optimizer = make_adamw(
        model,
        learning_rate=preset.learning_rate,
        weight_decay=preset.weight_decay,
        betas=(preset.beta1, preset.beta2),
        device_type="cpu",
    )
    batches = [
        sample_batch(
            tiny_workload.corpus.train,
            batch_size=tiny_workload.batch_size,
            block_size=preset.config.block_size,
            device=torch.device("cpu"),
            generator=None,
        )
        for _ in range(8)
    ]
    for n in range(20):
        x, y = batches[n % 8]
        _, loss = model(x, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), preset.grad_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step()
        assert step.last_loss.item() == loss.item()


def test_training_learns(step: TrainStep) -> None:
    step()
    first = step.last_loss.item()
    for _ in range(60):
        step()
    assert step.last_loss.item() < first - 0.3


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_trains_too(tiny_workload: GPTWorkload, dtype: str) -> None:
    step = TrainStep(tiny_workload, CpuDevice(), dtype=dtype, compile=False)
    step()
    first = step.last_loss.item()
    for _ in range(40):
        step()
    assert step.last_loss.item() < first


def test_the_bare_loop_trains_the_same_model(step: TrainStep) -> None:
    before = [p.detach().clone() for p in step.model.parameters()]
    bare_step(step)()
    changed = [not torch.equal(a, b) for a, b in zip(before, step.model.parameters(), strict=True)]
    assert all(changed)


def test_matmul_precision_comes_back() -> None:
    before = torch.get_float32_matmul_precision()
    with matmul_precision("tf32"):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before


def test_the_loop_learns_logs_evaluates_and_saves(tiny_workload: GPTWorkload) -> None:
    loop = TrainLoop(tiny_workload, CpuDevice(), dtype="float32", compile=False)
    loop()
    first = loop.last_loss.item()
    for _ in range(60):
        loop()
    assert loop.last_loss.item() < first
    amortised = loop.time_evaluation_and_checkpoint(budget_s=0.2)
    assert loop.model.training
    assert amortised.evaluation_s > 0
    assert amortised.checkpoint_s > 0
    assert 1 <= amortised.evaluation_batches_timed <= 2 * tiny_workload.loop.eval_iters
    loop.close()


def test_evaluation_and_checkpoint_are_spread_over_their_interval() -> None:
    amortised = Amortised(
        evaluation_s=2.0, evaluation_batches_timed=4, checkpoint_s=0.5, eval_interval=250
    )
    assert amortised.iteration_s(0.04) == pytest.approx(0.05)


def test_the_schedule_warms_up_and_decays(tiny_workload: GPTWorkload) -> None:
    loop = tiny_workload.loop
    rates = [learning_rate(n, loop) for n in range(loop.max_iters + 5)]
    assert rates[0] < rates[loop.warmup_iters - 1] < rates[loop.warmup_iters]
    assert rates[loop.warmup_iters] == pytest.approx(loop.learning_rate)
    assert rates[loop.max_iters] == pytest.approx(loop.min_learning_rate)
    assert rates[-1] == loop.min_learning_rate


def test_workload_cost_is_the_formulas(tiny_workload: GPTWorkload) -> None:
    cost = tiny_workload.cost("float32", "cpu")
    assert cost.tokens == tiny_workload.batch_size * tiny_workload.block_size
    assert cost.model_flops < cost.palm_flops  # type: ignore[operator]
    assert cost.palm_flops < cost.nanogpt_flops  # type: ignore[operator]
