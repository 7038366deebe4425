"""Gradients, and nothing that uses them."""

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(16, 4)
for _ in range(6):
    loss = model(torch.randn(8, 16)).square().mean()
    loss.backward()
    print(repr(loss.item()))
