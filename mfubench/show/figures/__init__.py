"""The report's pictures, one file each. Every one is drawn wide and narrow (for a phone)."""

from __future__ import annotations

WIDE_PX, NARROW_PX = 760.0, 320.0


def is_narrow(width: float) -> bool:
    """Whether labels go above their row instead of beside it."""
    return width < 500
