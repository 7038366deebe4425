"""A gradient that is itself differentiated: `create_graph=True`."""

import torch
from torch import nn

torch.manual_seed(0)
critic = nn.Linear(8, 8, bias=False)
optimizer = torch.optim.SGD(critic.parameters(), lr=0.01)
for _ in range(10):
    x = torch.randn(16, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(critic(x).square().sum(), x, create_graph=True)
    loss = gradient.square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(repr(loss.item()))
