"""What the campaign consists of."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator

from tests.campaign import documents, faults, injection, inputs, options
from tests.campaign.engine import Trial

Area = Callable[[random.Random, bool], Iterable[Trial]]


def load_everything() -> None:
    """Whatever a command imports, once for all trials."""
    import importlib
    import pkgutil

    import pandas  # noqa: F401
    import scipy.stats  # noqa: F401
    import torch._dynamo  # noqa: F401

    import mfubench

    for found in pkgutil.walk_packages(mfubench.__path__, "mfubench."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)


def _sampled(trials: Iterator[Trial], rng: random.Random, sample: bool, count: int) -> list[Trial]:
    found = list(trials)
    return rng.sample(found, min(count, len(found))) if sample else found


AREAS: dict[str, Area] = {
    "options": lambda rng, sample: _sampled(options.options(), rng, sample, 60),
    "documents": lambda rng, sample: [
        *documents.mutations(rng, 12 if sample else 2400),
        *documents.broken_files(rng, 3 if sample else 120),
    ],
    "faults": lambda rng, sample: _sampled(
        (t for t in faults.faults(rng, 150) if not sample or t.name.startswith("sweep")),
        rng,
        sample,
        4,
    ),
    "injection": lambda rng, sample: _sampled(injection.injections(sample=sample), rng, sample, 8),
    "logs": lambda rng, sample: _sampled(inputs.logs(rng, 150), rng, sample, 10),
    "traces": lambda rng, sample: _sampled(inputs.traces(rng, 150), rng, sample, 10),
    "corpora": lambda rng, sample: _sampled(inputs.corpora(rng, 80), rng, sample, 10),
    "scripts": lambda rng, sample: _sampled(inputs.scripts(), rng, sample, 4),
}
