"""Properties run hundreds of tiny models, one thread each: idle threads would spin in the way."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def _one_thread_for_all(one_thread: None) -> None:
    """A module's scope, because Hypothesis refuses a fixture that it cannot renew per example."""
