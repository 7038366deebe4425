"""A script that leaves with a status of its own."""

import atexit
import sys

import torch
from torch import nn

atexit.register(print, "left")
torch.manual_seed(0)
model = nn.Linear(16, 4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for i in range(100):
    loss = nn.functional.cross_entropy(model(torch.randn(8, 16)), torch.randint(0, 4, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(repr(loss.item()))
    if i == 11:
        sys.exit(3)
