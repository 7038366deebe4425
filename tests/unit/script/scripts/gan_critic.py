"""A critic that steps three times for each step of the generator."""

import torch
from torch import nn

torch.manual_seed(0)
generator = nn.Linear(4, 8)
critic = nn.Linear(8, 1)
g_optimizer = torch.optim.Adam(generator.parameters())
d_optimizer = torch.optim.RMSprop(critic.parameters())
for _ in range(12):
    for _ in range(3):
        with torch.no_grad():
            fake = generator(torch.randn(16, 4))
        d_loss = critic(fake).mean() - critic(torch.randn(16, 8)).mean()
        d_optimizer.zero_grad()
        d_loss.backward()
        d_optimizer.step()
    g_loss = -critic(generator(torch.randn(16, 4))).mean()
    g_optimizer.zero_grad()
    g_loss.backward()
    g_optimizer.step()
    print(repr(d_loss.item()), repr(g_loss.item()))
