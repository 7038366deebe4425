"""A script that forks in mid-run; the child ends as Python ends."""

import os
import sys

import torch
from torch import nn
from torch.optim.optimizer import _global_optimizer_post_hooks

torch.manual_seed(0)
model = nn.Linear(16, 4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for i in range(12):
    loss = nn.functional.cross_entropy(model(torch.randn(8, 16)), torch.randint(0, 4, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(repr(loss.item()), flush=True)
    if i == 6:
        child = os.fork()
        if child == 0:
            # The child trains, and nobody watches it.
            nn.functional.cross_entropy(model(torch.ones(8, 16)), torch.zeros(8).long()).backward()
            optimizer.step()
            print("child", len(_global_optimizer_post_hooks), flush=True)
            sys.exit(0)
        os.waitpid(child, 0)
