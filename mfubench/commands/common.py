"""What the commands share: bad input as one sentence, and the words for amounts of time."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


class UserError(Exception):
    """Bad input: the message is the whole answer."""


def duration_s(text: str) -> float:
    """Seconds from `300`, `90s`, `5m` or `1h`.

    >>> duration_s("5m"), duration_s("90"), duration_s("1.5 min")
    (300.0, 90.0, 90.0)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)?", text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; type 300, 90s, 5m or 1h")
    return float(match[1]) * UNITS_S[match[2] or ""]


def add_results_dir(parser: argparse.ArgumentParser, what: str) -> None:
    """`--results-dir`, with what is kept there."""
    parser.add_argument(
        "--results-dir",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help=f"{what} (default: %(default)s)",
    )
