"""The pairs of one comparison on disk, so that an interrupt loses none of them."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from mfubench.results.read import in_words


class JournalError(ValueError):
    """Kept pairs that cannot be gone on with, in one sentence."""


@dataclass
class PairJournal:
    """One JSON line per pair; without a path nothing is written."""

    path: Path | None
    pairs: list[dict[str, Any]] = field(default_factory=list)

    def load(self) -> None:
        """Read what an earlier run kept. A last line that was cut off is left out, and removed so
        that no pair is written behind it."""
        if self.path is None or not self.path.exists():
            return
        *lines, cut = self.path.read_bytes().split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):
                self.pairs.append(json.loads(line))
        if cut:
            os.truncate(self.path, self.path.stat().st_size - len(cut))

    def begin(self, pair: type, *, resume: bool) -> None:
        """Go on with the pairs that an earlier run kept, or forget them. Raises JournalError where
        one of them is no `pair`."""
        if not resume:
            self.finish()
            return
        self.load()
        try:
            msgspec.convert(self.pairs, list[pair])  # type: ignore[valid-type]
        except msgspec.ValidationError as error:
            raise JournalError(
                f"{self.path} holds a pair that is not valid: {in_words(error)}; without --resume "
                "all pairs are measured anew"
            ) from None

    def add(self, pair: dict[str, Any]) -> None:
        """Keep a pair, at once. Raises OSError, which says where, when it cannot be written."""
        self.pairs.append(pair)
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(pair) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:  # of a write, which does not say where
            raise OSError(error.errno, error.strerror, str(self.path)) from None

    def finish(self) -> None:
        """Remove the file: the comparison is saved elsewhere."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
