"""Which files a script opens for writing: two sides in one folder may be in each other's way."""

from __future__ import annotations

import os
import sys
from typing import Any

MOST = 1000
"""Paths that are kept; a script that writes more is known well enough."""
_UNIMPORTANT = ("/dev/", "/proc/", "/sys/")
_CACHES = ("__pycache__", "torchinductor", f"{os.sep}.cache{os.sep}")


class Writes:
    """The paths, by Python's own audit events and by what `torch.save` is given."""

    def __init__(self) -> None:
        self._paths: dict[str, None] = {}

    @property
    def paths(self) -> list[str]:
        """Absolute, each once."""
        return list(self._paths)

    def watch(self) -> None:
        """From now on; an audit hook stays for the life of the process."""

        def heard(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "open" and isinstance(arguments[1], str) and arguments[1][:1] in "wax":
                self.add(arguments[0])

        sys.addaudithook(heard)

    def watch_saves(self, signals: Any) -> None:
        """`torch.save` writes without Python's knowledge."""
        signals.on_save = self.add

    def add(self, path: Any) -> None:
        """Keep a path that matters; a number of an open file is none."""
        if not isinstance(path, str | os.PathLike) or len(self._paths) >= MOST:
            return
        whole = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - no link is followed
        if not whole.startswith(_UNIMPORTANT) and not any(c in whole for c in _CACHES):
            self._paths[whole] = None
