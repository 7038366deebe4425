"""torch.compile with its default backend."""

import torch
from torch import nn

torch.manual_seed(0)
network = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
model = torch.compile(network)
optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
for _ in range(14):
    loss = nn.functional.cross_entropy(model(torch.randn(8, 16)), torch.randint(0, 4, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(repr(loss.item()))
