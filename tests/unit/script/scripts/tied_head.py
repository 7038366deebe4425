"""An embedding whose table is the output head's weight, beside a smaller one."""

import torch
from torch import nn

torch.manual_seed(0)
tokens, kinds = nn.Embedding(50, 16), nn.Embedding(3, 16)
head = nn.Linear(16, 50, bias=False)
head.weight = tokens.weight
optimizer = torch.optim.AdamW([tokens.weight, *kinds.parameters()])
for _ in range(12):
    x = torch.randint(0, 50, (4, 10))
    hidden = tokens(x) + kinds(torch.zeros(4, 10, dtype=torch.long))
    loss = nn.functional.cross_entropy(head(hidden).view(-1, 50), x.view(-1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(repr(loss.item()))
