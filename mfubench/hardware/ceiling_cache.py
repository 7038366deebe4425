"""Measured ceilings, kept per machine with their age.

A ceiling is only as good as the conditions it was measured under, so its key names everything that
changes it on one machine: the device, the dtype, the thread count and the torch build.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mfubench.files import read_input

FORMAT_VERSION = 1
MOST_BYTES = 2**24


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCeiling:
    """One measured ceiling."""

    kind: str
    """gemm, copy, triad or dispatch."""
    device: str
    dtype: str | None
    threads: int
    torch_version: str
    rate_per_s: float
    noise_ratio: float
    measured_at_s: float
    """Seconds since the epoch."""
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return ceiling_key(self.kind, self.device, self.dtype, self.threads, self.torch_version)

    def age_s(self, now_s: float | None = None) -> float:
        """Seconds since it was measured; a clock that was set back gives zero, not less."""
        return max(0.0, (time.time() if now_s is None else now_s) - self.measured_at_s)


def ceiling_key(kind: str, device: str, dtype: str | None, threads: int, torch_version: str) -> str:
    """
    >>> ceiling_key("gemm", "cpu", "float32", 2, "2.13.0+cpu")
    'gemm/cpu/float32/threads=2/torch=2.13.0+cpu'
    """
    return f"{kind}/{device}/{dtype or '-'}/threads={threads}/torch={torch_version}"


class CeilingCache:
    """The ceilings of one machine, in one small JSON file that is rewritten at each change.

    A file that cannot be read or written costs a new measurement, never an error: `problem` says
    what was wrong.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem: str | None = None
        self._ceilings: dict[str, StoredCeiling] = {}
        self._read()

    def _read(self) -> None:
        try:
            data = json.loads(read_input(self.path, MOST_BYTES))
            if data["format_version"] == FORMAT_VERSION:
                for entry in data["ceilings"]:
                    ceiling = StoredCeiling(**entry)
                    if not ceiling.rate_per_s > 0:
                        raise ValueError(f"rate {ceiling.rate_per_s} is not above zero")
                    self._ceilings[ceiling.key] = ceiling
        except FileNotFoundError:
            pass
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            self._ceilings = {}
            self.problem = f"stored ceilings in {self.path} were ignored: {error}"

    def get(self, key: str, *, max_age_s: float) -> StoredCeiling | None:
        """The stored ceiling, unless it is older than `max_age_s`."""
        ceiling = self._ceilings.get(key)
        if ceiling is None or ceiling.age_s() > max_age_s:
            return None
        return ceiling

    def stored(self) -> list[StoredCeiling]:
        """Every ceiling, whatever its age, in the order of their keys."""
        return [ceiling for _, ceiling in sorted(self._ceilings.items())]

    def put(self, ceiling: StoredCeiling, *, max_age_s: float) -> StoredCeiling:
        """Keep the higher of this ceiling and a stored one not older than `max_age_s`; return it.

        Other programs on the machine lower what is measured and nothing raises it, so the best
        sustained rate of the last days is the truer ceiling. It is kept in memory whatever happens,
        and on disk if that can be.
        """
        stored = self.get(ceiling.key, max_age_s=max_age_s)
        if stored is not None and stored.rate_per_s >= ceiling.rate_per_s:
            return stored
        self._ceilings[ceiling.key] = ceiling
        data = {
            "format_version": FORMAT_VERSION,
            "ceilings": [asdict(ceiling) for ceiling in self.stored()],
        }
        partial = self.path.with_name(f"{self.path.name}.{os.getpid()}.partial")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(data, indent=1), encoding="utf-8")
            partial.replace(self.path)
        except OSError as error:
            self.problem = f"ceilings could not be kept in {self.path}: {error}"
        return ceiling
