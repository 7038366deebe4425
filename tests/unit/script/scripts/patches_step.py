"""A script that puts its own function in the place of SGD's step, before it makes one."""

import torch
from torch import nn

original = torch.optim.SGD.step


def counted_step(self, closure=None):
    counted_step.calls += 1
    return original(self, closure)


counted_step.calls = 0
torch.optim.SGD.step = counted_step
torch.manual_seed(0)
model = nn.Linear(16, 4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(10):
    loss = nn.functional.cross_entropy(model(torch.randn(8, 16)), torch.randint(0, 4, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(counted_step.calls, repr(loss.item()))
