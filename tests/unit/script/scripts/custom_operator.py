"""An operator of its own, which nobody can count."""

import torch
from torch import nn


@torch.library.custom_op("shop::mix", mutates_args=())
def mix(x: torch.Tensor) -> torch.Tensor:
    for _ in range(40):
        x = x + x @ torch.eye(x.shape[1])
        x = x / 2
    return x.clone()


mix.register_autograd(lambda ctx, grad: grad)
torch.manual_seed(0)
model = nn.Linear(16, 4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(10):
    loss = mix(model(torch.randn(8, 16))).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(repr(loss.item()))
