"""Does the breakdown find what is there? A cost planted in a step must be found in its bar."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

import msgspec
import pytest

from mfubench.plugin.fixture import MeasureCase
from mfubench.results.answers import PlantedCost
from mfubench.results.outcomes import Outcome
from mfubench.results.record import CaseRecord
from mfubench.suite.outcomes import CaseEnded

from .planted_costs import PLANTS, PRESET

MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**30)}
"""glibc gives memory back to the system, and takes it again page by page; a step that does so now
and then, or only with the profiler's events between its blocks, has two durations."""


@pytest.mark.mfubench(from_sweep="full")
@pytest.mark.parametrize("name", PLANTS, ids=lambda name: name.replace(" ", "-"))
def test_planted_cost(measure_case: MeasureCase, name: str) -> None:
    """The planted seconds, and how many of them the breakdown finds in the bar that is right."""
    record = CaseRecord(
        case_id=f"planted/{name.replace(' ', '-')}",
        question="planted",
        preset=PRESET.name,
        device="cpu",
        dtype="float32",
        batch_size=PLANTS[name].batch_size,
        block_size=PRESET.config.block_size,
        compile=False,
        threads=1,
    )

    def look() -> None:
        found = subprocess.run(
            [sys.executable, "-P", str(Path(__file__).with_name("planted_costs.py")), name],
            env={**os.environ, **MALLOC, "OMP_NUM_THREADS": "1", "KINETO_LOG_LEVEL": "99"},
            capture_output=True,
            text=True,
            check=False,
        )
        if found.returncode:
            raise RuntimeError((found.stderr.strip().splitlines() or ["it said nothing"])[-1])
        planted = json.loads(found.stdout)
        if planted["planted_s"] <= 0:
            raise CaseEnded(
                Outcome.INVALID,
                "the step with the cost was no slower than the one without: another program holds "
                "the machine; run this case again",
            )
        record.step_s = planted.pop("step_s")
        record.planted = msgspec.convert(planted, PlantedCost)

    measure_case.conclude(measure_case.runner.answer(record, look))


SLEEPS = {
    "loader": "data",
    "batch function": "data",
    "logging": "logging",
    "evaluation": "evaluation",
    "quiet evaluation": "evaluation",
}
"""Places in `planted_in_script.py`, and the bar of `mfubench run --breakdown` for each."""
SLEEP_S = 0.02


@pytest.mark.mfubench(from_sweep="full")
@pytest.mark.parametrize("place", SLEEPS, ids=lambda place: place.replace(" ", "-"))
def test_planted_sleep_in_a_script(measure_case: MeasureCase, place: str) -> None:
    """A sleep in a training script, run live: how much of it is found, and in which bar."""
    record = CaseRecord(
        case_id=f"planted/script-{place.replace(' ', '-')}",
        question="planted",
        preset="planted_in_script.py",
        device="cpu",
        dtype="float32",
        compile=False,
        threads=1,
    )

    def look() -> None:
        (plain, _), (planted, slept_s) = (_live(place, asked_s) for asked_s in (0.0, SLEEP_S))
        names = plain.keys() | planted.keys()
        grown_s = {name: planted.get(name, 0.0) - plain.get(name, 0.0) for name in names}
        found_s = grown_s.pop(SLEEPS[place], 0.0)
        elsewhere = max(grown_s, key=lambda name: abs(grown_s[name]))
        record.step_s = sum(plain.values())
        record.planted = PlantedCost(
            name=f"sleep in the {place} of a script",
            bar=SLEEPS[place],
            looks=1,
            planted_s=slept_s,
            found_s=found_s,
            found_ratio=found_s / slept_s,
            elsewhere=elsewhere,
            elsewhere_s=grown_s[elsewhere],
        )

    measure_case.conclude(measure_case.runner.answer(record, look))


def _live(place: str, asked_s: float) -> tuple[dict[str, float], float]:
    """The bars of a live run, and the seconds per step that it slept by its own clock. The first
    step is in neither: a step is from one end to the next."""
    with tempfile.TemporaryDirectory(prefix="mfubench-") as name:
        folder = Path(name)
        options = [
            "--no-ceilings",
            "--breakdown",
            "--results-dir",
            name,
            "--json",
            f"{name}/j.json",
        ]
        script = str(Path(__file__).with_name("planted_in_script.py"))
        arguments = [script, place, str(asked_s), f"{name}/slept.json"]
        done = subprocess.run(
            [sys.executable, "-P", "-m", "mfubench", "run", *options, *arguments],
            env={**os.environ, **MALLOC, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
        record: dict[str, Any] = json.loads((folder / "j.json").read_text(encoding="utf-8"))
        slept_s = json.loads((folder / "slept.json").read_text(encoding="utf-8"))
    if "breakdown" not in record:
        raise CaseEnded(Outcome.INVALID, record.get("breakdown_problem") or "no breakdown")
    return {bar["name"]: bar["seconds"] for bar in record["breakdown"]}, fmean(slept_s[1:])
