"""A small GPT, a step of about 40 ms on two slow cores."""

import torch
from planted import options, planted
from torch import nn
from torch.nn import functional as F

asked = options(lr=1e-3)
torch.manual_seed(1337)
WIDTH, HEADS, LENGTH, VOCABULARY, BATCH = 128, 4, 64, 65, 4


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        batch, length, _ = x.shape
        q, k, v = self.qkv(self.ln_1(x)).view(batch, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(batch, length, WIDTH))
        return x + self.down(F.gelu(self.up(self.ln_2(x))))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(4)))
        self.ln, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, tokens):
        planted(asked)
        x = self.tokens(tokens) + self.places(torch.arange(LENGTH))
        return self.head(self.ln(self.blocks(x)))


model = GPT()
step = torch.compile(model) if asked.compile else model
optimizer = torch.optim.AdamW(model.parameters(), lr=asked.lr)
text = torch.randint(0, VOCABULARY, (100_000,))
for _ in range(asked.steps):
    starts = torch.randint(0, len(text) - LENGTH - 1, (BATCH,))
    x = torch.stack([text[i : i + LENGTH] for i in starts])
    y = torch.stack([text[i + 1 : i + LENGTH + 1] for i in starts])
    loss = F.cross_entropy(step(x).flatten(0, 1), y.flatten())
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
