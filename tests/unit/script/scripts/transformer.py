"""torch's own nn.Transformer."""

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Transformer(
    d_model=16,
    nhead=2,
    num_encoder_layers=1,
    num_decoder_layers=1,
    dim_feedforward=32,
    dropout=0.0,
    batch_first=True,
)
optimizer = torch.optim.AdamW(model.parameters())
mask = nn.Transformer.generate_square_subsequent_mask(5)
for _ in range(10):
    out = model(torch.randn(2, 6, 16), torch.randn(2, 5, 16), tgt_mask=mask, tgt_is_causal=True)
    loss = out.square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(repr(loss.item()))
