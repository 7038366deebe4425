"""A frozen backbone in eval mode under a head that learns."""

import torch
from torch import nn

torch.manual_seed(0)
backbone = nn.Sequential(nn.Linear(16, 32), nn.ReLU()).requires_grad_(False)
head = nn.Linear(32, 4)
optimizer = torch.optim.Adam(head.parameters())
for _ in range(12):
    head.train()
    backbone.eval()
    loss = nn.functional.cross_entropy(
        head(backbone(torch.randn(8, 16))), torch.randint(0, 4, (8,))
    )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(repr(loss.item()))
