"""Which setting helps here, and by how much? Each knob in pairs against nanoGPT's own loop."""

from __future__ import annotations

import pytest

from mfubench.knobs.catalogue import KNOBS
from mfubench.knobs.measure import measure_knob
from mfubench.plugin.fixture import MeasureCase


@pytest.mark.mfubench(from_sweep="full")
@pytest.mark.parametrize("knob", [k.name for k in KNOBS], ids=lambda name: name.replace(" ", "-"))
def test_knob(measure_case: MeasureCase, preset: str, device: str, knob: str) -> None:
    """The ratio of tokens per second with the knob and without, and what to type for it."""
    measure_case.conclude(measure_knob(measure_case.runner, knob, preset=preset, device=device))
