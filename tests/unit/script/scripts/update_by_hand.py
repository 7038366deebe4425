"""Gradient descent written out, without torch.optim."""

import torch

torch.manual_seed(0)
weight = torch.randn(16, 4, requires_grad=True)
for _ in range(14):
    loss = (torch.randn(8, 16) @ weight).square().mean()
    loss.backward()
    with torch.no_grad():
        weight -= 0.1 * weight.grad
    weight.grad = None
    print(repr(loss.item()))
