"""A cost that is planted in a step is found in its bar, to a fifth, and in no other.

Everything is compared with the same step's own growth: no time here is absolute. A machine that is
busy with something else gets a few tries.
"""

from __future__ import annotations

import time

import pytest
import torch

from mfubench.hardware.devices import CpuDevice
from mfubench.measure.profiler_events import event_cost
from mfubench.measure.profiling import Profile, operators, profile_step
from mfubench.measure.train_loop import TrainLoop
from mfubench.measure.train_step import TrainStep
from model.corpus import Corpus, open_corpus
from tests.integration.planted_costs import PLANTS, PRESET, Plant, PlantedWorkload

TRIES, PAUSE_S = 8, 1.5
"""The machine may change its speed between the two profiles of a try, for seconds."""
RIGHT_BAR = 0.20
OTHER_BARS = 0.15


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", autouse=True)
def settled_allocator() -> None:
    """glibc gives large blocks back to the system, and takes them again page by page, until a
    larger one was freed once; a step that does so now and then has two durations."""
    torch.empty(24 * 2**20, dtype=torch.uint8)


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


def bars(profile: Profile) -> dict[str, float]:
    """Seconds of each bar, the operators of a component and its Python together."""
    found: dict[str, float] = {}
    for row in operators(profile, on_host=True):
        found[row.component] = found.get(row.component, 0.0) + row.seconds
    return found


def built(plant: Plant, corpus: Corpus, *, planted: bool) -> TrainStep:
    settings = plant.settings if planted else plant.plain
    workload = PlantedWorkload(PRESET, plant.batch_size, corpus, **settings)
    step = plant.step_type(workload, CpuDevice(), dtype="float32", compile=False)
    for _ in range(5):
        step()
    return step


def grown(plain: Profile, planted: Profile) -> tuple[float, dict[str, float]]:
    """The planted share of the plain step, and each bar's growth as a share of what was planted."""
    growth_s = planted.step_s - plain.step_s
    before, after = bars(plain), bars(planted)
    shares = {
        name: (after.get(name, 0.0) - before.get(name, 0.0)) / growth_s
        for name in sorted(before.keys() | after.keys())
    }
    return growth_s / plain.step_s, shares


def is_found(bar: str, shares: dict[str, float]) -> bool:
    others = (abs(share) for name, share in shares.items() if name != bar)
    return abs(shares.get(bar, 0.0) - 1) <= RIGHT_BAR and max(others) <= OTHER_BARS


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_cost_is_found_in_its_bar_and_in_no_other(
    name: str, corpus: Corpus, cost_s: float
) -> None:
    plant = PLANTS[name]
    plain = built(plant, corpus, planted=False)
    planted = built(plant, corpus, planted=True)
    tries = []
    for _ in range(TRIES):
        share, shares = grown(
            profile_step(plain, event_cost_s=cost_s), profile_step(planted, event_cost_s=cost_s)
        )
        tries.append(
            f"grew by {share:.0%} of the plain step; of that: "
            + ", ".join(f"{bar} {part:+.1%}" for bar, part in shares.items())
        )
        if share > 0 and is_found(plant.bar, shares):
            break
        time.sleep(PAUSE_S)
    else:
        pytest.fail(f"{name} is not found in {plant.bar}:\n" + "\n".join(tries))
    for step in (plain, planted):
        if isinstance(step, TrainLoop):
            step.close()
