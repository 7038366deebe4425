"""A training script that sleeps in one place, as long as it is told, and says how long it slept.

`python planted_in_script.py PLACE SECONDS FILE` writes to FILE the seconds that it slept in each
step, by its own clock: a sleep of 20 ms takes a little more.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

PLACES = ("loader", "batch function", "logging", "evaluation", "quiet evaluation")
STEPS, EVALUATE_EVERY = 120, 6

place, asked_s, answer = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
slept_s = [0.0] * STEPS


def maybe_sleep(here: str, step: int) -> None:
    if here == place and asked_s:
        since_s = time.perf_counter()
        time.sleep(asked_s)
        slept_s[step] += time.perf_counter() - since_s


class Rows(Dataset[torch.Tensor]):
    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, index: int) -> torch.Tensor:
        maybe_sleep("loader", index)
        return torch.randn(256)


torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(256, 512), nn.GELU(), nn.Linear(512, 256))
optimizer = torch.optim.AdamW(model.parameters())


def batch(step: int, row: torch.Tensor) -> torch.Tensor:
    maybe_sleep("batch function", step)
    return row.repeat(64, 1) + torch.randn(64, 256)


def log(step: int, loss: torch.Tensor) -> None:
    value = loss.item()
    maybe_sleep("logging", step)
    print(step, value)


def evaluate(step: int) -> None:
    model.eval()
    with torch.no_grad():
        print("evaluation", model(torch.randn(64, 256)).square().mean().item())
        maybe_sleep("evaluation", step)
    model.train()


@torch.no_grad()
def evaluate_quietly(step: int) -> None:
    print("evaluation", model(torch.randn(64, 256)).square().mean().item())
    maybe_sleep("quiet evaluation", step)


for step, row in enumerate(DataLoader(Rows(), batch_size=1)):
    if step % EVALUATE_EVERY == 3:
        (evaluate_quietly if place == "quiet evaluation" else evaluate)(step)
    loss = (model(batch(step, row)) - 1).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    log(step, loss.detach())

answer.write_text(json.dumps(slept_s), encoding="utf-8")
