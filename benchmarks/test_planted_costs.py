"""Does the breakdown find what is there? A cost planted in a step must be found in its bar."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from mfubench.plugin.measure_case import MeasureCase

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
