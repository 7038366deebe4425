"""A small convolution net with batch norm, a step of some ten milliseconds."""

import torch
from planted import options, planted
from torch import nn

asked = options(lr=0.05)
torch.manual_seed(1337)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(64 * 8 * 8, 10)),
        )

    def forward(self, images):
        planted(asked)
        return self.body(images)


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=asked.lr, momentum=0.9)
images, labels = torch.randn(512, 3, 32, 32), torch.randint(0, 10, (512,))
for _ in range(asked.steps):
    chosen = torch.randint(0, 512, (32,))
    loss = nn.functional.cross_entropy(model(images[chosen]), labels[chosen])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
