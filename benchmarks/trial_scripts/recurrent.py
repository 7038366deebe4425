"""An LSTM over characters: many small operators, a step of some ten milliseconds."""

import torch
from planted import options, planted
from torch import nn

asked = options(lr=3e-3)
torch.manual_seed(1337)
VOCABULARY, WIDTH, LENGTH, BATCH = 65, 128, 48, 16


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.lstm = nn.LSTM(WIDTH, WIDTH, num_layers=2, batch_first=True)
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, tokens):
        planted(asked)
        return self.head(self.lstm(self.tokens(tokens))[0])


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=asked.lr)
text = torch.randint(0, VOCABULARY, (100_000,))
for _ in range(asked.steps):
    starts = torch.randint(0, len(text) - LENGTH - 1, (BATCH,))
    tokens = torch.stack([text[i : i + LENGTH + 1] for i in starts])
    logits = model(tokens[:, :-1])
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
