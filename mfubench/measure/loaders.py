"""Ways to bring batches to the loop: in line as nanoGPT, from a thread, or by worker processes."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterator
from typing import Protocol

import torch
from mfubench_model.batches import sample_batch
from mfubench_model.corpus import Corpus, TokenArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from mfubench.hardware.devices import Device
from mfubench.measure.loop_config import LoopConfig

Pair = tuple[Tensor, Tensor]


class Loader(Protocol):
    """A source of training batches on the device."""

    def next_batch(self) -> Pair: ...

    def evaluation_batch(self) -> Pair: ...

    def close(self) -> None: ...


class InlineLoader:
    """nanoGPT's: each batch is drawn when it is asked for."""

    def __init__(
        self, corpus: Corpus, *, batch_size: int, block_size: int, device: Device, seed: int
    ) -> None:
        self._corpus = corpus
        self._batch_size = batch_size
        self._block_size = block_size
        self._device = device.torch_device
        self._generator = torch.Generator().manual_seed(seed)
        self._evaluation = torch.Generator().manual_seed(seed + 1)

    def next_batch(self) -> Pair:
        return self._sample(self._corpus.train, self._generator)

    def evaluation_batch(self) -> Pair:
        return self._sample(self._corpus.val, self._evaluation)

    def _sample(self, data: TokenArray, generator: torch.Generator) -> Pair:
        return sample_batch(
            data,
            batch_size=self._batch_size,
            block_size=self._block_size,
            device=self._device,
            generator=generator,
        )

    def close(self) -> None:
        pass


class FixedLoader(InlineLoader):
    """A few batches that are drawn once: a step without its input pipeline."""

    BATCHES = 8

    def __init__(
        self, corpus: Corpus, *, batch_size: int, block_size: int, device: Device, seed: int
    ) -> None:
        super().__init__(
            corpus, batch_size=batch_size, block_size=block_size, device=device, seed=seed
        )
        self._drawn = itertools.cycle([InlineLoader.next_batch(self) for _ in range(self.BATCHES)])

    def next_batch(self) -> Pair:
        return next(self._drawn)


class ThreadLoader(InlineLoader):
    """The same batches in the same order, drawn one ahead by a thread."""

    AHEAD = 2

    def __init__(
        self, corpus: Corpus, *, batch_size: int, block_size: int, device: Device, seed: int
    ) -> None:
        super().__init__(
            corpus, batch_size=batch_size, block_size=block_size, device=device, seed=seed
        )
        self._ready: queue.Queue[Pair] = queue.Queue(self.AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fill, daemon=True)
        self._thread.start()

    def _fill(self) -> None:
        while not self._stop.is_set():
            batch = super().next_batch()
            while not self._stop.is_set():
                try:
                    self._ready.put(batch, timeout=0.1)
                    break
                except queue.Full:
                    continue

    def next_batch(self) -> Pair:
        return self._ready.get()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)


class _Draws(IterableDataset[Pair]):
    """Batches without end, drawn in a DataLoader's worker process."""

    def __init__(self, data: TokenArray, *, batch_size: int, block_size: int, seed: int) -> None:
        self._data = data
        self._batch_size = batch_size
        self._block_size = block_size
        self._seed = seed

    def __iter__(self) -> Iterator[Pair]:
        worker = torch.utils.data.get_worker_info()
        offset = worker.id if worker is not None else 0
        generator = torch.Generator().manual_seed(self._seed + 1000 * offset)
        while True:
            yield sample_batch(
                self._data,
                batch_size=self._batch_size,
                block_size=self._block_size,
                device=torch.device("cpu"),
                generator=generator,
            )


class WorkerLoader(InlineLoader):
    """torch's DataLoader with worker processes: other batches than in line, of the same kind."""

    def __init__(
        self,
        corpus: Corpus,
        *,
        batch_size: int,
        block_size: int,
        device: Device,
        seed: int,
        workers: int,
    ) -> None:
        super().__init__(
            corpus, batch_size=batch_size, block_size=block_size, device=device, seed=seed
        )
        draws = _Draws(corpus.train, batch_size=batch_size, block_size=block_size, seed=seed)
        self._loader = DataLoader(
            draws, batch_size=None, num_workers=workers, pin_memory=device.kind == "cuda"
        )
        self._batches = iter(self._loader)

    def next_batch(self) -> Pair:
        x, y = next(self._batches)
        return x.to(self._device, non_blocking=True), y.to(self._device, non_blocking=True)

    def close(self) -> None:
        del self._batches


def make_loader(
    config: LoopConfig, corpus: Corpus, *, block_size: int, device: Device, seed: int
) -> Loader:
    """The loader that a configuration names."""
    if config.loader == "inline":
        make = InlineLoader
    elif config.loader == "fixed":
        make = FixedLoader
    elif config.loader == "thread":
        make = ThreadLoader
    else:
        return WorkerLoader(
            corpus,
            batch_size=config.batch_size,
            block_size=block_size,
            device=device,
            seed=seed,
            workers=int(config.loader.rpartition("-")[2]),
        )
    return make(
        corpus, batch_size=config.batch_size, block_size=block_size, device=device, seed=seed
    )
