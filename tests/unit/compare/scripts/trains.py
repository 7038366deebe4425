"""A script that trains until it is stopped, in the way that its first argument names."""

import os
import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

how, lr = sys.argv[1], float(dict(word.split("=") for word in sys.argv[2:]).get("lr", 0.05))
torch.manual_seed(0)
words = nn.Embedding(40, 16)
model = nn.Sequential(words, nn.Flatten(), nn.Linear(16 * 6, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=lr)
critic = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=lr)
scaler = torch.amp.GradScaler("cpu", enabled=how == "scaler")
data = TensorDataset(torch.randint(0, 40, (4096, 6)), torch.randint(0, 4, (4096,)))


def batches():
    workers = 2 if how == "workers" else 0
    while True:
        yield from DataLoader(data, batch_size=8, shuffle=True, num_workers=workers)


def loss_of(x, y):
    return nn.functional.cross_entropy(model(x), y)


if __name__ == "__main__":
    if how == "asks":
        input("go on? ")
    if how == "unseeded":
        torch.seed()
    for number, (x, y) in enumerate(batches()):
        if how == "critic":
            critic.step()
            critic.step()
        if how == "closure":

            def closure(x=x, y=y):
                optimizer.zero_grad()
                loss = loss_of(x, y)
                loss.backward()
                return loss

            optimizer.step(closure)
            continue
        for _ in range(2 if how == "accumulates" else 1):
            scaler.scale(loss_of(x, y)).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        if how == "prints":
            print("x" * 1_000_000)
        if how == "saves" and number % 4 == 0:
            torch.save(model.state_dict(), f"ckpt-{os.getpid()}.pt")
            Path("log.txt").write_text("all")
        if how == "fails" and number == 8:
            raise ValueError("planted")
        if how == "evaluates" and number % 4 == 0:
            model.eval()
            model.train()
