"""A cost that is planted in a step is found in its bar, to a fifth, and in no other.

Everything is compared with the same step's own growth: no time here is absolute. Other programs
only ever add time, and a machine may be slow for seconds, so the two steps take short turns, and of
each bar its less disturbed turns count.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections import Counter, deque

import numpy as np
import pytest
from mfubench_model.corpus import Corpus, open_corpus

from mfubench.hardware.devices import CpuDevice
from mfubench.measure.loop_bars import touch_memory
from mfubench.measure.profiler_events import event_cost
from mfubench.measure.profiling import PhasedStep, StepProfiler, operators
from mfubench.measure.train_loop import TrainLoop
from mfubench.measure.train_step import TrainStep
from mfubench.timing import time_s
from tests.integration.planted_costs import PLANTS, PRESET, Plant, PlantedWorkload

TURNS, PATIENCE_S = 12, 60.0
"""Turns of an answer; more of them, for so long, while it is wrong."""
QUIET = 0.2
PLAIN_STEPS = 4
STEP = "the plain step"
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""
RIGHT_BAR = 0.20
OTHER_BARS = 0.15


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", autouse=True)
def settled_allocator() -> None:
    """glibc gives memory back to the system, and takes it again page by page; a step that does so
    now and then, or only with the profiler's events between its blocks, has two durations."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if set_option is not None:
        for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            set_option(option, 2**30)
    touch_memory()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    config = PRESET.config
    return open_corpus(
        None,
        vocab_size=config.vocab_size,
        block_size=config.block_size,
        cache_dir=tmp_path_factory.mktemp("corpus"),
    )


@pytest.fixture(scope="module")
def cost_s() -> float:
    """One cost for plain and planted steps: what differs between them is the plant."""
    return event_cost(CpuDevice())


class QuietBars:
    """The plain duration of a step and its bars, in seconds: of each, the one that a fifth of the
    last turns stays below. A bar is the operators of a component and its Python together."""

    def __init__(self, step: TrainStep, cost_s: float) -> None:
        self._step = step
        self._profiler = StepProfiler(step, PhasedStep(step), event_cost_s=cost_s)
        self._turns: deque[Counter[str]] = deque(maxlen=TURNS)

    def turn(self) -> None:
        plain_s = min(time_s(self._step) for _ in range(PLAIN_STEPS))
        self._profiler.block(plain=1, profiled=1)
        found = Counter({STEP: plain_s})
        for row in operators(self._profiler.taken(), on_host=True):
            found[row.component] += row.seconds
        self._turns.append(found)

    @property
    def bars_s(self) -> Counter[str]:
        names = {name for turn in self._turns for name in turn}
        return Counter(
            {name: np.quantile([turn[name] for turn in self._turns], QUIET) for name in names}
        )


def built(plant: Plant, corpus: Corpus, *, planted: bool) -> TrainStep:
    settings = plant.settings if planted else plant.plain
    workload = PlantedWorkload(PRESET, plant.batch_size, corpus, **settings)
    step = plant.step_type(workload, CpuDevice(), dtype="float32", compile=False)
    for _ in range(5):
        step()
    return step


def grown(plain_s: Counter[str], planted_s: Counter[str]) -> tuple[float, dict[str, float]]:
    """The planted share of the plain step, and each bar's growth as a share of what was planted."""
    growth_s = planted_s[STEP] - plain_s[STEP]
    bars = sorted((plain_s.keys() | planted_s.keys()) - {STEP})
    shares = {name: (planted_s[name] - plain_s[name]) / growth_s for name in bars}
    return growth_s / plain_s[STEP], shares


def is_found(bar: str, shares: dict[str, float]) -> bool:
    others = (abs(share) for name, share in shares.items() if name != bar)
    return abs(shares.get(bar, 0.0) - 1) <= RIGHT_BAR and max(others) <= OTHER_BARS


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_cost_is_found_in_its_bar_and_in_no_other(
    name: str, corpus: Corpus, cost_s: float
) -> None:
    plant = PLANTS[name]
    steps = [built(plant, corpus, planted=planted) for planted in (False, True)]
    plain, planted = (QuietBars(step, cost_s) for step in steps)
    until_s = time.monotonic() + PATIENCE_S
    answers = []
    found = False
    while not found and (len(answers) < TURNS or time.monotonic() < until_s):
        plain.turn()
        planted.turn()
        share, shares = grown(plain.bars_s, planted.bars_s)
        answers.append(
            f"grew by {share:.0%} of the plain step; of that: "
            + ", ".join(f"{bar} {part:+.1%}" for bar, part in shares.items())
        )
        found = len(answers) >= TURNS and share > 0 and is_found(plant.bar, shares)
    for step in steps:
        if isinstance(step, TrainLoop):
            step.close()
    assert found, f"{name} is not found in {plant.bar}:\n" + "\n".join(answers[-5:])
