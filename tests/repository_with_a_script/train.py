"""A training script of somebody: a small character model, its own data, logs and checkpoints.

Each line that ends in a word in brackets is where a branch of the test repository differs.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("config", nargs="?", help="a JSON file of settings")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--compile", metavar="BACKEND", help="inductor, or eager for a test")
    parser.add_argument("--out", type=Path, default=Path("out"))
    return parser.parse_args()


def settings(path):
    found = {"width": 64, "depth": 2, "heads": 4, "length": 48, "batch": 8, "lr": 1e-3}
    if path is not None:
        found.update(json.loads(Path(path).read_text()))
    return found


class Data:
    """Pairs of sequences from a text file, each one sign apart."""

    def __init__(self, path, length, batch):
        text = path.read_text(encoding="utf-8")
        self.signs = sorted(set(text))
        number = {sign: index for index, sign in enumerate(self.signs)}
        self.tokens = torch.tensor([number[sign] for sign in text])
        self.length, self.batch = length, batch

    def draw(self):
        starts = torch.randint(0, len(self.tokens) - self.length - 1, (self.batch,)).tolist()
        x = torch.stack([self.tokens[i : i + self.length] for i in starts])
        y = torch.stack([self.tokens[i + 1 : i + 1 + self.length] for i in starts])
        return x, y


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = (
            part.view(batch, length, self.heads, -1).transpose(1, 2)
            for part in self.qkv(self.first(x)).split(width, dim=2)
        )
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.second(x))))


class Model(nn.Module):
    def __init__(self, signs, width, depth, heads, length):
        super().__init__()
        self.tokens, self.places = nn.Embedding(signs, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, signs, bias=False)

    def forward(self, x, y):
        h = self.tokens(x) + self.places(torch.arange(x.shape[1]))
        for block in self.blocks:
            h = block(h)
        logits = self.head(self.norm(h))
        return F.cross_entropy(logits.flatten(0, 1), y.flatten())


def rate(step, highest):
    warm = min(1.0, (step + 1) / 10)
    return highest * warm * 0.5 * (1 + math.cos(min(1.0, step / 5000) * math.pi))


def extra(model):
    """Nothing; a branch puts its bug here."""


def main():
    given = arguments()
    config = settings(given.config)
    torch.manual_seed(1)
    data = Data(Path("data/text.txt"), config["length"], config["batch"])
    shape = [config[name] for name in ("width", "depth", "heads", "length")]
    model = Model(len(data.signs), *shape)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["lr"])
    run = torch.compile(model, backend=given.compile) if given.compile else model
    given.out.mkdir(exist_ok=True)
    since_s = time.perf_counter()
    for step in range(given.steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, config["lr"])
        loss = run(*data.draw())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        extra(model)
        optimizer.step()
        if step % 10 == 0:
            took_s = time.perf_counter() - since_s
            with (given.out / "log.txt").open("a", encoding="utf-8") as log:
                log.write(f"{step} {loss.item():.4f} {took_s:.1f} s\n")
        if step % 500 == 499:
            torch.save(model.state_dict(), given.out / "model.pt")


if __name__ == "__main__":
    main()
