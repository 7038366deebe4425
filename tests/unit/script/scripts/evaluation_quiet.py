"""Evaluation that no module is told of: only gradients are off. A pause stands for its length."""

import time

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
held_out = DataLoader(TensorDataset(torch.randn(64, 16)), batch_size=32)


@torch.no_grad()
def evaluate():
    total = sum(model(x).sum() for (x,) in held_out)
    time.sleep(0.05)
    return total.item()


for i in range(16):
    if i % 4 == 2:
        print("evaluation", repr(evaluate()))
    if i % 8 == 7:
        for (x,) in held_out:
            with torch.inference_mode():
                print("again", repr(model(x).sum().item()))
    loss = nn.functional.cross_entropy(model(torch.randn(8, 16)), torch.randint(0, 4, (8,)))
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    with torch.no_grad():
        print(repr(loss.item()))
