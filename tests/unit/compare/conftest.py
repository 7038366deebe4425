"""The fake side and the scripts are programs of their own, and never imported."""

from collections.abc import Iterator

import pytest

from mfubench.pairs import machine_lock
from mfubench.pairs.pairing import TurnPlan
from mfubench.sides import bench as bench_module

collect_ignore = ["fake_side.py", "scripts"]


@pytest.fixture(scope="module")
def few_turns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Eight steps of each side are enough to see that it is held. Nothing is timed, so no
    measurement of somebody else is waited for."""
    lock = tmp_path_factory.mktemp("lock") / "timing.lock"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine_lock, "lock_path", lambda: lock)
        patch.setattr(bench_module, "turn_plan", lambda step_s: TurnPlan(4, 4, 2))
        yield
