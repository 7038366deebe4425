"""Evaluation every four steps, with a loader of its own, and a pause that stands for its length."""

import time

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for i in range(16):
    if i % 4 == 2:
        model.eval()
        with torch.no_grad():
            print("evaluation", repr(model(torch.randn(64, 16)).sum().item()))
            time.sleep(0.05)
        model.train()
    loss = nn.functional.cross_entropy(model(torch.randn(8, 16)), torch.randint(0, 4, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(repr(loss.item()))
