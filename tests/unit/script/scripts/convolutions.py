"""Convolutions: strided, in groups, transposed."""

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
    nn.ReLU(),
    nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=False),
    nn.ConvTranspose2d(8, 2, 2, stride=2, bias=False),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(12):
    loss = model(torch.randn(5, 3, 8, 8)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(repr(loss.item()))
