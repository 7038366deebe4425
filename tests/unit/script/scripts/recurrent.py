"""An LSTM."""

import torch
from torch import nn

torch.manual_seed(0)
model = nn.LSTM(6, 10, batch_first=True, bias=False)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(12):
    out, _ = model(torch.randn(4, 7, 6))
    loss = out.square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(repr(loss.item()))
