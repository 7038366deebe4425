"""Distillation: a teacher in eval mode runs without gradients in every step, and is part of it."""

import torch
from torch import nn

torch.manual_seed(0)
teacher, student = nn.Linear(16, 4), nn.Linear(16, 4)
teacher.eval()
optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
for _ in range(12):
    x = torch.randn(8, 16)
    with torch.no_grad():
        wanted = teacher(x)
    loss = (student(x) - wanted).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(repr(loss.item()))
