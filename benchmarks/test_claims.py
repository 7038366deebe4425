"""Is what people say about training a small GPT true on this machine? Rules: docs/claims.md."""

from __future__ import annotations

import pytest

from mfubench.claims.measure.ask import CLAIMS, Claim, ask
from mfubench.claims.measure.bench import PRESET
from mfubench.plugin.fixture import MeasureCase


# The preset is a parameter so that its corpus is read, or refused, before anything is timed.
@pytest.mark.mfubench(from_sweep="full")
@pytest.mark.parametrize(("claim", "preset"), [pytest.param(c, PRESET, id=c.id) for c in CLAIMS])
def test_claim(measure_case: MeasureCase, claim: Claim, preset: str) -> None:
    """Holds, does not hold, or untestable here and why, with the number and its conditions."""
    measure_case.conclude(ask(measure_case.runner, claim))
