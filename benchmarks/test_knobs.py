"""Which setting helps here, and by how much? Each knob in pairs against nanoGPT's own loop."""

from __future__ import annotations

import pytest

from mfubench.knobs.catalogue import KNOBS
from mfubench.suite.runner import CaseRunner


@pytest.mark.mfubench(from_sweep="full")
@pytest.mark.parametrize("knob", [k.name for k in KNOBS], ids=lambda name: name.replace(" ", "-"))
def test_knob(measure_case: CaseRunner, preset: str, device: str, knob: str) -> None:
    """The ratio of tokens per second with the knob and without, and what to type for it."""
    measure_case.knob(knob, preset=preset, device=device)
