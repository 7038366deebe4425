"""What the gate lets pass: the limits of a case, from the table `tool.mfubench.gate`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from msgspec import Struct


class Limits(Struct, frozen=True, kw_only=True):
    """What may change without anybody being told."""

    floor: float = 0.01
    """A slow-down that is not certainly larger than this fails nobody."""
    tolerance: float = 0.05
    """A slow-down that is certainly smaller than this passes."""
    start_up: float = 0.25
    memory: float = 0.02
    loss: float = 0.01
    """Relative change of the loss, either way: faster because wrong is a failure."""


def gate_table(path: Path) -> dict[str, Any]:
    """The table `tool.mfubench.gate` of a pyproject.toml; empty where there is none.

    Raises tomllib.TOMLDecodeError.
    """
    if not path.exists():
        return {}
    table: dict[str, Any] = (
        tomllib.loads(path.read_text(encoding="utf-8"))
        .get("tool", {})
        .get("mfubench", {})
        .get("gate", {})
    )
    return table


def is_share(value: object) -> bool:
    """Whether it can be a limit: a number of at least 0, below 10.

    >>> is_share(0.05), is_share(-0.1), is_share("5 %"), is_share(True)
    (True, False, False, False)
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 10


def limits_for(case_id: str, settings: Mapping[str, Any]) -> Limits:
    """A case's limits: the table `tool.mfubench.gate`, and the first pattern of its `cases` that
    fits.

    >>> table = {"tolerance": 0.04, "cases": {"train-loop/*": {"tolerance": 0.08}}}
    >>> limits_for("train-loop/x", table).tolerance, limits_for("train-step/x", table).tolerance
    (0.08, 0.04)
    """
    values = {k: v for k, v in settings.items() if k in Limits.__struct_fields__}
    for pattern, special in settings.get("cases", {}).items():
        if fnmatchcase(case_id, pattern):
            values |= special
            break
    return Limits(**values)
