"""What tests in several rooms share: a workload so small that a step takes a millisecond."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mfubench_model.config import GPTConfig
from mfubench_model.corpus import open_corpus
from mfubench_model.presets import Preset

from mfubench.measure.gpt_workload import GPTWorkload

# In a parallel run pytest-benchmark would time nothing in the runs that the tests start themselves.
os.environ.pop("PYTEST_XDIST_WORKER", None)
# A shell has what it starts in the background ignore Ctrl-C, and all that is started from there.
signal.signal(signal.SIGINT, signal.default_int_handler)

TINY = Preset(
    name="tiny",
    config=GPTConfig(block_size=8, vocab_size=65, n_layer=1, n_head=2, n_embd=16, bias=False),
    batch_size=4,
    eval_interval=50,
    eval_iters=4,
    log_interval=2,
    max_iters=200,
    learning_rate=1e-2,
    beta1=0.9,
    beta2=0.99,
    description="for tests",
    nanogpt_config="",
)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """A tiny step gains nothing from a second thread, which would spin in others' way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny_workload(tmp_path: Path) -> GPTWorkload:
    corpus = open_corpus(None, vocab_size=65, block_size=8, cache_dir=tmp_path)
    return GPTWorkload(TINY, TINY.batch_size, corpus)
