"""Limits of the stored gate from the markers of tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from mfubench.plugin.gate_option import marked_limits


def item(**marked: Any) -> pytest.Item:
    marker = pytest.mark.mfubench(**marked).mark if marked else None
    found = SimpleNamespace(
        nodeid="benchmarks/test_x.py::test_x", get_closest_marker=lambda _: marker
    )
    return cast(pytest.Item, found)


def test_a_marker_gives_limits_and_nothing_else() -> None:
    assert marked_limits(item(tolerance=0.08, few=True)) == {"tolerance": 0.08}
    assert marked_limits(item(few=True)) == marked_limits(item()) == {}


@pytest.mark.parametrize("value", [-0.1, "8 %", 50, True])
def test_what_is_no_share_is_refused(value: object) -> None:
    with pytest.raises(pytest.UsageError, match="must be a share"):
        marked_limits(item(floor=value))
