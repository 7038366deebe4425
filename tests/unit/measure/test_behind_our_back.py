"""Everything that measures, on a GPU that runs behind our back and whose times are known.

A wait that is left out makes the host's clock run ahead of the device: for every call of the
product that waits, one check at least fails without it.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

from tests.unit.measure.checks_behind_our_back import CHECKS
from tests.unit.measure.gpu_behind_our_back import Check
from tests.virtual_gpu import PRODUCT, Site, VirtualGpu, behind_our_back


def ran(check: Check, *, ignored: frozenset[Site] = frozenset()) -> VirtualGpu:
    """The device after a check."""
    gpu = VirtualGpu()
    gpu.ignored = ignored
    with behind_our_back(gpu) as device:
        check(gpu, device)
    return gpu


@functools.cache
def waits_of(name: str) -> set[Site]:
    """What a check waits in, where everything is as it is."""
    return ran(CHECKS[name]).waits


@pytest.mark.parametrize("name", CHECKS)
def test_within_two_per_cent_of_the_truth(name: str) -> None:
    waits_of(name)


# --------------------------------------------------------------------------- what waits, left out

WAITING = ("synchronise", "synchronize", "item")


def waiting_calls() -> list[Site]:
    """Every call that waits for a device, in everything that measures."""
    found = []
    for room in ("hardware", "measure", "pairs", "suite", "knobs"):
        for path in sorted((Path(PRODUCT) / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in WAITING
                ):
                    found.append((str(path.relative_to(PRODUCT)), node.lineno))
    return found


OTHER_DEVICES = ("hardware/device_mps.py",)
"""Behind a module that the virtual GPU does not stand in for."""


@pytest.mark.parametrize(
    "site",
    [s for s in waiting_calls() if s[0] not in OTHER_DEVICES],
    ids=lambda s: f"{s[0]}:{s[1]}",
)
def test_a_wait_that_is_left_out_is_found(site: Site) -> None:
    """The call is there and does nothing, as if it had been removed."""
    concerned = [name for name in CHECKS if site in waits_of(name)]
    assert concerned, "no check gets here"
    for name in concerned:
        try:
            ran(CHECKS[name], ignored=frozenset({site}))
        except (AssertionError, RuntimeError):
            return
    pytest.fail(f"every one of these passes without it: {', '.join(concerned)}")
