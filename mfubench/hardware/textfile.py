"""What the system tells in a small file or through a program, and nothing where it does not."""

from __future__ import annotations

import subprocess
from pathlib import Path

_TIMEOUT_S = 10.0


def text_of(path: Path) -> str:
    """The text of a file without the white space around it; "" where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def integer_of(path: Path, base: int = 10) -> int | None:
    """The whole number that a file holds; None where it cannot be read or holds none."""
    try:
        return int(text_of(path), base)
    except ValueError:
        return None


def output_of(*command: str) -> str | None:
    """What a program prints, without the white space around it; None where it fails or is slow."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
