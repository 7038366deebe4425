"""Experts that are given as many rows as the router sends them: shapes depend on the data."""

import torch
from torch import nn

torch.manual_seed(0)
experts = nn.ModuleList(nn.Linear(8, 8, bias=False) for _ in range(3))
optimizer = torch.optim.SGD(experts.parameters(), lr=0.1)
for _ in range(14):
    x = torch.randn(24, 8)
    kept = x[x.sum(1) > 0]  # another number of rows in each step
    chosen = torch.arange(len(kept)) % 3
    out = torch.zeros_like(kept)
    for i, expert in enumerate(experts):
        rows = (chosen == i).nonzero()[:, 0]
        out = out.index_add(0, rows, expert(kept[rows]))
    loss = (out - kept).square().sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(len(kept), repr(loss.item()))
