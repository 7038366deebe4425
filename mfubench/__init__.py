"""mfubench: what share of this machine does GPT training use, and what changed it?

Importing the package costs nothing: torch, pandas and rich are imported by what needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = ["__version__", "load", "measure_training"]

if TYPE_CHECKING:
    from mfubench.results.frame import load as load
    from mfubench.script.context import measure_training as measure_training


def __getattr__(name: str) -> object:
    if name == "load":
        from mfubench.results.frame import load

        return load
    if name == "measure_training":
        from mfubench.script.context import measure_training

        return measure_training
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
