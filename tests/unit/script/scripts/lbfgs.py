"""An optimizer that is given a closure."""

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(16, 4)
x, y = torch.randn(8, 16), torch.randn(8, 4)
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.05, max_iter=1)


def closure():
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    return loss


for _ in range(12):
    print(repr(optimizer.step(closure).item()))
