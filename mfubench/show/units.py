"""Formatting of quantities, in one place. SI prefixes; an unknown value is a dash."""

from __future__ import annotations

import math

UNKNOWN = "–"
ROUNDING = 1e-9
"""A share below it is what the arithmetic of floats left, not something measured."""
_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def format_si(value: float | None, unit: str, *, digits: int = 3) -> str:
    """A value with an SI prefix and `digits` significant digits.

    >>> format_si(187.2e9, "FLOP/s"), format_si(20700.0, "tok/s"), format_si(None, "FLOP/s")
    ('187 GFLOP/s', '20.7 ktok/s', '–')
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    for factor, prefix in _PREFIXES:
        # 999.6 k rounds to 1000 k at three digits: that is 1.00 M.
        if abs(value) >= factor * (1 - 0.5 * 10**-digits):
            return f"{_significant(value / factor, digits)} {prefix}{unit}"
    return f"{_significant(value, digits)} {unit}"


def _significant(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value)) + 1e-12))
    return f"{value:.{decimals}f}"


def format_bytes(value: float | None) -> str:
    """Bytes with a binary prefix.

    >>> format_bytes(3 * 2**20), format_bytes(None)
    ('3.0 MiB', '–')
    """
    if value is None:
        return UNKNOWN
    for power, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if abs(value) >= 2**power:
            scaled = value / 2**power
            return f"{scaled:.1f} {unit}" if scaled < 100 else f"{scaled:.0f} {unit}"
    return f"{value:.0f} B"


def format_share(value: float | None, *, digits: int = 3) -> str:
    """A fraction of one as a percentage with significant digits.

    >>> format_share(0.2137), format_share(0.00034243), format_share(None), format_share(-3e-15)
    ('21.4 %', '0.0342 %', '–', '0 %')
    """
    if value is None or not math.isfinite(value * 100):  # a file may hold 1e308
        return UNKNOWN
    if abs(value) < ROUNDING:
        return "0 %"
    return f"{_significant(value * 100, digits)} %"


def format_duration(seconds: float | None) -> str:  # noqa: PLR0911 - one per scale
    """Seconds in words a person uses.

    >>> format_duration(0.0372), format_duration(8.3), format_duration(75), format_duration(7260)
    ('37.2 ms', '8.3 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 1e-3:
        return f"{_significant(seconds * 1e6, 3)} µs"
    if seconds < 1:
        return f"{_significant(seconds * 1e3, 3)} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, whole = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{whole} s"
    hours, minutes_left = divmod(minutes, 60)
    if hours == 0:
        return f"{minutes} min {whole} s" if whole else f"{minutes} min"
    return f"{hours} h {minutes_left} min" if minutes_left else f"{hours} h"
