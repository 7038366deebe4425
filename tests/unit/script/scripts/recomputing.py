"""Activation checkpointing: the middle layer's forward runs again inside backward."""

import sys

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

reentrant = "reentrant" in sys.argv[1:]
torch.manual_seed(0)
first, middle, last = nn.Linear(16, 32), nn.Linear(32, 32), nn.Linear(32, 4)
layers = nn.ModuleList([first, middle, last])
optimizer = torch.optim.SGD(layers.parameters(), lr=0.1)
for _ in range(12):
    h = first(torch.randn(8, 16))
    h = checkpoint(lambda x: middle(x).relu(), h, use_reentrant=reentrant)
    loss = nn.functional.cross_entropy(last(h), torch.randint(0, 4, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(repr(loss.item()))
