"""A small GPT trained as nanoGPT trains: batches by a function, a scaler that is switched off,
accumulation, clipping, a learning-rate schedule, evaluation and a checkpoint in between."""

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

batch_size, gradient_accumulation_steps, max_iters, eval_interval = 4, 2, 14, 6


@dataclass
class Config:
    block_size: int = 8
    vocab_size: int = 32
    n_layer: int = 2
    n_head: int = 2
    n_embd: int = 16


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config.n_embd
        self.heads = config.n_head
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(self.ln_1(x)).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(b, t, c))
        return x + self.down(F.gelu(self.up(self.ln_2(x))))


class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.n_embd)
        self.positions = nn.Embedding(config.block_size, config.n_embd)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = nn.LayerNorm(config.n_embd)
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.tokens.weight = self.head.weight

    def forward(self, x, y):
        h = self.tokens(x) + self.positions(torch.arange(x.shape[1]))
        for block in self.blocks:
            h = block(h)
        logits = self.head(self.norm(h))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), y.view(-1))

    def estimate_mfu(self, sequences_per_iter, dt):
        config = self.config
        n = sum(p.numel() for p in self.parameters()) - self.positions.weight.numel()
        per_token = 6 * n + 12 * config.n_layer * config.n_embd * config.block_size
        return per_token * config.block_size * sequences_per_iter / dt / 312e12


torch.manual_seed(1337)
config = Config()
data = np.random.default_rng(0).integers(0, config.vocab_size, 4096).astype(np.uint16)


def get_batch():
    starts = torch.randint(len(data) - config.block_size - 1, (batch_size,))
    x, y = (
        torch.stack(
            [
                torch.from_numpy(data[i + s : i + s + config.block_size].astype(np.int64))
                for i in starts
            ]
        )
        for s in (0, 1)
    )
    return x, y


model = GPT(config)
scaler = torch.amp.GradScaler("cpu", enabled=False)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)


@torch.no_grad()
def estimate_loss():
    model.eval()
    losses = [model(*get_batch()).item() for _ in range(3)]
    model.train()
    return sum(losses) / len(losses)


x, y = get_batch()
for iteration in range(max_iters):
    for group in optimizer.param_groups:
        group["lr"] = 1e-3 * 0.5 * (1 + math.cos(math.pi * iteration / max_iters))
    if iteration % eval_interval == 0:
        print("evaluation", repr(estimate_loss()))
        torch.save({"model": model.state_dict()}, io.BytesIO())
    for _ in range(gradient_accumulation_steps):
        loss = model(x, y) / gradient_accumulation_steps
        x, y = get_batch()
        scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    print(iteration, repr(loss.item() * gradient_accumulation_steps))
