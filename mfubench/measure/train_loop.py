"""The training loop as nanoGPT runs it: data, step and log in each iteration, the rest amortised.

nanoGPT's `train.py` evaluates and may save a checkpoint every `eval_interval` iterations. A round
here is one plain iteration (learning rate, forward, next batch, backward, clip, optimizer, log);
evaluation and checkpoint are timed apart and spread over their interval.
"""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mfubench.analysis import components
from mfubench.hardware.devices import Device
from mfubench.measure.train_step import Phase, TrainStep
from mfubench.measure.workload import Batch, LoopSettings, Workload
from mfubench.timing import now_s, time_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Amortised:
    """What evaluation and checkpoint add to an iteration."""

    evaluation_s: float
    """One evaluation: `eval_iters` batches of each of two splits."""
    evaluation_batches_timed: int
    """Batches that were really timed; `evaluation_s` is scaled from them where they are fewer."""
    checkpoint_s: float
    """Saving model and optimizer once. nanoGPT saves when the validation loss improves, which at
    the start of training is at every evaluation."""
    eval_interval: int

    def iteration_s(self, plain_iteration_s: float) -> float:
        """Seconds per iteration with its share of evaluation and checkpoint."""
        return plain_iteration_s + (self.evaluation_s + self.checkpoint_s) / self.eval_interval


def learning_rate(iteration: int, loop: LoopSettings) -> float:
    """nanoGPT's schedule: linear warm-up, cosine decay to the minimum at `max_iters`."""
    if iteration < loop.warmup_iters:
        return loop.learning_rate * (iteration + 1) / (loop.warmup_iters + 1)
    if iteration > loop.max_iters:
        return loop.min_learning_rate
    progress = (iteration - loop.warmup_iters) / max(1, loop.max_iters - loop.warmup_iters)
    cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
    return loop.min_learning_rate + cosine * (loop.learning_rate - loop.min_learning_rate)


class TrainLoop(TrainStep):
    """One iteration of nanoGPT's loop per call."""

    def __init__(self, workload: Workload, device: Device, **settings: Any) -> None:
        super().__init__(workload, device, **settings)
        self._loop = workload.loop
        self._iteration = 0
        self._batch = workload.sample_batch("train", self._torch_device)
        self._log = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - closed below
        self._last_logged_s = now_s()

    def iterate(self, phase: Phase) -> None:
        self.set_learning_rate()
        with phase(components.FORWARD):
            loss = self.forward(self._batch)
        # As nanoGPT: the next batch is fetched while a GPU is still busy with the forward pass.
        with phase(components.DATA):
            self.advance()
        self.update(loss, phase)
        with phase(components.LOGGING):
            self.log()

    def next_batch(self) -> Batch:
        """The batch that the last iteration loaded."""
        return self._batch

    def set_learning_rate(self) -> None:
        rate = learning_rate(self._iteration, self._loop)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def advance(self) -> None:
        """Load the next batch."""
        self._batch = self.workload.sample_batch("train", self._torch_device)

    def log(self) -> None:
        """At every `log_interval`-th iteration wait for the loss and write nanoGPT's line."""
        if self._iteration % self._loop.log_interval == 0:
            at_s = now_s()
            elapsed_ms = (at_s - self._last_logged_s) * 1e3
            self._last_logged_s = at_s
            value = self.last_loss.item()
            self._log.write(f"iter {self._iteration}: loss {value:.4f}, time {elapsed_ms:.2f}ms\n")
        self._iteration += 1

    def time_evaluation_and_checkpoint(self, *, budget_s: float) -> Amortised:
        """Time evaluation batches for about half the budget, and checkpoints for the rest."""
        per_batch_s, batches = self._time_evaluation_batches(budget_s / 2)
        return Amortised(
            evaluation_s=per_batch_s * 2 * self._loop.eval_iters,
            evaluation_batches_timed=batches,
            checkpoint_s=self._time_checkpoint(),
            eval_interval=self._loop.eval_interval,
        )

    def _evaluate_batch(self, split: str) -> float:
        batch = self.workload.sample_batch(split, self._torch_device)
        with torch.no_grad():
            return self.forward(batch).item()

    def _time_evaluation_batches(self, budget_s: float) -> tuple[float, int]:
        self._forward_model.eval()
        try:
            # The first batch of each mode is cold (a compiled model is compiled again for it).
            self._evaluate_batch("val")
            wanted = 2 * self._loop.eval_iters
            start_s = now_s()
            for done in range(1, wanted + 1):
                self._evaluate_batch("train" if done % 2 else "val")
                elapsed_s = now_s() - start_s
                if elapsed_s > budget_s:
                    break
            return elapsed_s / done, done
        finally:
            self._forward_model.train()

    def _time_checkpoint(self) -> float:
        """The faster of two saves to a temporary file: the first may wait for the disk."""
        with tempfile.TemporaryDirectory(prefix="mfubench-") as folder:
            path = Path(folder) / "ckpt.pt"
            return min(time_s(lambda: self.save(path)) for _ in range(2))

    def save(self, path: Path) -> None:
        """Write a checkpoint: what nanoGPT's `train.py` saves, its settings left out."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "iter_num": self._iteration,
        }
        torch.save(state, path)

    def close(self) -> None:
        """Close the log."""
        self._log.close()
