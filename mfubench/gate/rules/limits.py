"""What the gate lets pass: the limits of a case, from the table `tool.mfubench.gate`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from msgspec import Struct

from mfubench.files import read_input


class Limits(Struct, frozen=True, kw_only=True):
    """How large a change may be before the gate fails."""

    floor: float = 0.01
    """A slow-down that may be smaller than this passes."""
    tolerance: float = 0.05
    """A slow-down that is certainly smaller than this passes."""
    start_up: float = 0.25
    memory: float = 0.02
    loss: float = 0.01
    """Relative change of the loss, either way: faster because wrong is a failure."""


MOST_BYTES = 2**24


class LimitsError(ValueError):
    """A pyproject.toml that sets no limits, in one sentence."""


def gate_table(path: Path) -> dict[str, Any]:
    """The table `tool.mfubench.gate` of a pyproject.toml; empty where there is none.

    Raises LimitsError.
    """
    try:
        table: Any = tomllib.loads(read_input(path, MOST_BYTES).decode("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        words = getattr(error, "strerror", None) or error
        raise LimitsError(f"{path} cannot be read: {words}") from None
    for name in ("tool", "mfubench", "gate"):
        table = table.get(name, {})
        if not isinstance(table, dict):
            raise LimitsError(f"{path}: {name} of tool.mfubench.gate is {table!r} and no table")
    cases = table.get("cases", {})
    if not isinstance(cases, dict) or not all(isinstance(one, dict) for one in cases.values()):
        raise LimitsError(f"{path}: tool.mfubench.gate.cases must hold a table for each pattern")
    return dict(table)


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
