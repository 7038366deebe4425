"""What the trial scripts share: their options, and extra work in the forward pass."""

import argparse

import torch

SIZE = 32
"""Small enough for one thread: the planted work leaves the step's other threads as they were."""
_factor = torch.ones(SIZE, SIZE)
_product = torch.empty(SIZE, SIZE)


def options(lr: float) -> argparse.Namespace:
    """`--planted N` products per forward pass, `--steps N` and the learning rate."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--planted", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument("--compile", action="store_true")
    return parser.parse_args()


def planted(asked: argparse.Namespace) -> None:
    """The extra work."""
    for _ in range(asked.planted):
        torch.mm(_factor, _factor, out=_product)
