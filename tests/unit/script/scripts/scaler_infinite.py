"""Mixed precision with a scaler; the sixth and the ninth gradient are infinite."""

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=False)
scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
for i in range(14):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(torch.randn(8, 16))
    loss = nn.functional.cross_entropy(logits.float(), torch.randint(0, 4, (8,)))
    if i in (5, 8):
        loss = loss * float("inf")
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    print(repr(loss.item()), scaler.get_scale())
