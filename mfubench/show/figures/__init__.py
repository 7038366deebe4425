"""The report's pictures, one file each. Every one is drawn wide and narrow (for a phone)."""

from __future__ import annotations

from typing import Final, Literal

WIDE_PX, NARROW_PX = 760.0, 320.0

Look = Literal["helps", "hurts", "same", "unclear", "true", "false", "warns", "plain"]
MARKS: Final[dict[Look, str]] = {
    "helps": "▲",
    "hurts": "▼",
    "same": "●",
    "unclear": "○",
    "true": "✓",
    "false": "✗",
    "warns": "!",
    "plain": "–",
}
"""Verdicts differ by their shape too, for whoever cannot tell the colours apart."""


def is_narrow(width: float) -> bool:
    """Whether labels go above their row instead of beside it."""
    return width < 500
