"""nanoGPT's loop for the preset nanogpt-cpu as a script of its own, to try `mfubench advise` on.

    mfubench advise benchmarks/trial_scripts/seed_loop.py

It is what the suite's own search measures: the same model, data, batch, schedule, evaluation and
log. A setting that helps one should help the other.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from mfubench_model.corpus import open_corpus
from mfubench_model.gpt import GPT
from mfubench_model.optimizer import adamw_groups
from mfubench_model.presets import get_preset

options = argparse.ArgumentParser()
options.add_argument("--steps", type=int, default=2000)
asked = options.parse_args()

torch.manual_seed(1337)
preset = get_preset("nanogpt-cpu")
length, batch = preset.config.block_size, preset.batch_size
cache = Path(tempfile.gettempdir()) / "mfubench-seed-loop"
corpus = open_corpus(None, vocab_size=preset.config.vocab_size, block_size=length, cache_dir=cache)
model = GPT(preset.config)
optimizer = torch.optim.AdamW(
    adamw_groups(model, preset.weight_decay),
    lr=preset.learning_rate,
    betas=(preset.beta1, preset.beta2),
)


def get_batch(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    data = corpus.train if split == "train" else corpus.val
    starts = torch.randint(len(data) - length, (batch,)).tolist()
    x = [torch.from_numpy(data[i : i + length].astype(np.int64)) for i in starts]
    y = [torch.from_numpy(data[i + 1 : i + 1 + length].astype(np.int64)) for i in starts]
    return torch.stack(x), torch.stack(y)


@torch.no_grad()
def evaluate() -> None:
    model.eval()
    for split in ("train", "val"):
        losses = [model(*get_batch(split))[1].item() for _ in range(preset.eval_iters)]
        print(split, sum(losses) / len(losses))
    model.train()


x, y = get_batch("train")
for step in range(asked.steps):
    share = min(1.0, step / 2000)
    rate = (
        1e-3 * (step + 1) / 101 if step < 100 else 1e-4 + 4.5e-4 * (1 + math.cos(math.pi * share))
    )
    for group in optimizer.param_groups:
        group["lr"] = rate
    if step and step % preset.eval_interval == 0:
        evaluate()
        torch.save({"model": model.state_dict()}, cache / "ckpt.pt")
    _, loss = model(x, y)
    x, y = get_batch("train")
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    print(step, loss.item())
