"""Ways to bring batches to the loop: in line as nanoGPT, from a thread, or by worker processes."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterator

import torch
from mfubench_model.batches import sample_batch
from mfubench_model.corpus import TokenArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from mfubench.hardware.devices import Device

Pair = tuple[Tensor, Tensor]
"""Tokens and targets, each (batch, context)."""
FIXED_BATCHES = 8
AHEAD = 2
"""Batches that a thread keeps ready."""


def draws(
    data: TokenArray, *, batch_size: int, block_size: int, device: torch.device, seed: int
) -> Iterator[Pair]:
    """Batches without end, each drawn when it is asked for, as nanoGPT does."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield sample_batch(
            data, batch_size=batch_size, block_size=block_size, device=device, generator=generator
        )


class Loader:
    """A source of training batches on the device."""

    def __init__(self, batches: Iterator[Pair]) -> None:
        self._batches = batches

    def next_batch(self) -> Pair:
        return next(self._batches)

    def close(self) -> None:
        """End its threads and processes."""
        del self._batches


class ThreadLoader(Loader):
    """The same batches in the same order, drawn ahead by a thread."""

    def __init__(self, batches: Iterator[Pair]) -> None:
        super().__init__(batches)
        self._ready: queue.Queue[Pair] = queue.Queue(AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fill, daemon=True)
        self._thread.start()

    def _fill(self) -> None:
        for batch in self._batches:
            while not self._stop.is_set():
                try:
                    self._ready.put(batch, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if self._stop.is_set():
                return

    def next_batch(self) -> Pair:
        return self._ready.get()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)


class _Draws(IterableDataset[Pair]):
    """Batches without end, drawn in a DataLoader's worker process."""

    def __init__(self, data: TokenArray, *, batch_size: int, block_size: int, seed: int) -> None:
        self._data = data
        self._sizes = {"batch_size": batch_size, "block_size": block_size}
        self._seed = seed

    def __iter__(self) -> Iterator[Pair]:
        worker = get_worker_info()
        seed = self._seed + 1000 * (worker.id if worker is not None else 0)
        return draws(self._data, **self._sizes, device=torch.device("cpu"), seed=seed)


def _from_workers(dataset: _Draws, workers: int, device: Device) -> Iterator[Pair]:
    """torch's DataLoader: other batches than in line, of the same kind."""
    pinned = device.kind == "cuda"
    to = device.torch_device
    for x, y in DataLoader(dataset, batch_size=None, num_workers=workers, pin_memory=pinned):
        yield x.to(to, non_blocking=True), y.to(to, non_blocking=True)


def make_loader(
    kind: str, data: TokenArray, *, batch_size: int, block_size: int, device: Device, seed: int
) -> Loader:
    """A loader by the name that `LoopConfig.loader` has for it."""
    if kind.startswith("workers-"):
        dataset = _Draws(data, batch_size=batch_size, block_size=block_size, seed=seed)
        return Loader(_from_workers(dataset, int(kind.removeprefix("workers-")), device))
    inline = draws(
        data, batch_size=batch_size, block_size=block_size, device=device.torch_device, seed=seed
    )
    if kind == "fixed":  # a step without its input pipeline
        return Loader(itertools.cycle([next(inline) for _ in range(FIXED_BATCHES)]))
    return ThreadLoader(inline) if kind == "thread" else Loader(inline)
