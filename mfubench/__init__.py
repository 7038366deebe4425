"""mfubench: what share of this machine does GPT training use, and what changed it?

Importing the package costs nothing: torch, pandas and rich are imported by what needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = ["__version__", "load"]

if TYPE_CHECKING:
    from mfubench.results.frame import load as load


def __getattr__(name: str) -> object:
    if name == "load":
        from mfubench.results.frame import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
