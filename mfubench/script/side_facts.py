"""What a side's process says of itself: compiling, graphs, and where its modules came from."""

from __future__ import annotations

import os
import sys


def compile_s() -> float | None:
    """Seconds that torch.compile has spent so far; None where torch does not say."""
    utils = sys.modules.get("torch._dynamo.utils")
    try:
        return None if utils is None else float(utils.calculate_time_spent()["total_wall_time"])
    except (AttributeError, KeyError, TypeError):
        return None


def graphs() -> int:
    """That torch.compile has made so far, recompilations included."""
    utils = sys.modules.get("torch._dynamo.utils")
    return 0 if utils is None else int(utils.counters["stats"]["unique_graphs"])


def modules_from(folder: str | None) -> list[str]:
    """Modules that were loaded from below a folder; an environment or this package in it is none of
    the user's code.

    >>> modules_from(None)
    []
    """
    if folder is None:
        return []
    apart = (sys.prefix, sys.base_prefix)
    found = []
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or name.partition(".")[0] in ("mfubench", "mfubench_model"):
            continue
        is_below = file.startswith(folder + os.sep) and "site-packages" not in file
        if is_below and not file.startswith(tuple(one + os.sep for one in apart)):
            found.append(name)
    return found


def strange_modules(folder: str | None) -> str | None:
    """Why a side does not run its own checkout's code; None where it does."""
    strange = modules_from(folder)
    if not strange:
        return None
    return (
        f"it imports {strange[0]} from the working tree, not from its own checkout, so both sides "
        "would run the same code: an editable installation (pip install -e) comes before the "
        "checkout. Uninstall it, or start the script with -m"
    )
