"""Spec peaks by device name: an anchored match over a data file, and unknown stays unknown.

Name tables that search for substrings take an RTX A1000 for an A100, an A4000 for an A40, an L40S
for an L4 and a laptop part for the desktop part. Here a name matches a row whole or not at all,
after both sides went through the same folding:

* upper and lower case, hyphens, slashes and trade-mark signs mean nothing;
* maker and brand words (NVIDIA, GeForce, Tesla, AMD, Instinct, Radeon) mean nothing. "Apple" stays,
  because without it an Apple M4 would be NVIDIA's Tesla M4;
* a memory size such as "80GB" is taken out and must fit the row; every other word (PCIe, SXM4,
  HBM3, NVL, Ti, SUPER, Laptop GPU, MIG 1g.10gb) is part of the name and selects the variant.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfubench.hardware.dtypes import check_dtype

PEAKS_FILE = Path(__file__).with_name("peaks.toml")

_MEANINGLESS_WORDS = frozenset({"nvidia", "geforce", "tesla", "amd", "instinct", "radeon"})
_TRADE_MARK = re.compile(r"\((?:r|tm|c)\)|[®™©]")
_SEPARATOR = re.compile(r"[\s\-_/]+")
_MEMORY_SIZE = re.compile(r"(\d+)gi?b")

#: A device reports between 85 % (error correction and driver reserve taken out) and 110 % (decimal
#: gigabytes printed, binary ones built) of the advertised size. Wide enough for a T4, which reports
#: 14.6 of 16 GiB, and narrow enough to tell 10 from 12 and 16 from 24.
_REPORTED_MEMORY_SHARE = (0.85, 1.10)


@dataclass(frozen=True, slots=True)
class DevicePeaks:
    """What a maker specifies for a device, dense. None is unknown, never zero or infinity."""

    name: str
    flops_per_s_by_dtype: Mapping[str, float]
    bandwidth_bytes_per_s: float | None
    source: str
    source_date: str
    memory_gib: int | None = None
    gpu_cores: int | None = None

    def flops_per_s(self, dtype: str) -> float | None:
        """Dense FLOP/s with float32 accumulation, None where the source gives none.

        >>> lookup("NVIDIA A100-SXM4-80GB").flops_per_s("bfloat16") / 1e12
        312.0
        """
        return self.flops_per_s_by_dtype.get(check_dtype(dtype))


@dataclass(frozen=True, slots=True)
class FoldedName:
    """A device name reduced to what tells devices apart."""

    words: str
    memory_gib: int | None


def fold_name(name: str) -> FoldedName:
    """Reduce a name as the driver prints it.

    >>> fold_name("NVIDIA A100-SXM4-80GB")
    FoldedName(words='a100 sxm4', memory_gib=80)
    >>> fold_name("NVIDIA GeForce RTX 4090 Laptop GPU")
    FoldedName(words='rtx 4090 laptop gpu', memory_gib=None)
    """
    words: list[str] = []
    memory_gib: int | None = None
    for word in _SEPARATOR.split(_TRADE_MARK.sub(" ", name.casefold()).strip()):
        size = _MEMORY_SIZE.fullmatch(word)
        if size and memory_gib is None:
            memory_gib = int(size.group(1))
        elif word not in _MEANINGLESS_WORDS:
            words.append(word)
    return FoldedName(" ".join(words), memory_gib)


@functools.cache
def rows() -> tuple[dict[str, Any], ...]:
    """The rows of the data file as written, each with its ``as_of`` date."""
    with PEAKS_FILE.open("rb") as file:
        data = tomllib.load(file)
    return tuple({"as_of": data["as_of"], **row} for row in data["device"])


def lookup(name: str, *, memory_bytes: int | None = None) -> DevicePeaks | None:
    """The peaks of the device that calls itself ``name``, None where no row is about it.

    ``memory_bytes`` is what the device reports. It tells variants of one name apart; a size that
    fits no row makes the device unknown, because it is then another device than the one in the
    table. Where several rows still fit ("NVIDIA A100"), only the numbers on which all of them
    agree are known, and where they agree on none ("NVIDIA H100") the device is unknown.

    >>> lookup("NVIDIA A100").bandwidth_bytes_per_s is None
    True
    >>> lookup("NVIDIA RTX A1000") is None
    True
    """
    folded = fold_name(name)
    fitting = [row for row in rows() if _fits(row, folded, memory_bytes)]
    if not fitting:
        return None
    agreed = _agreed_rates(fitting)
    if not agreed:
        return None
    return DevicePeaks(
        name=" or ".join(row["names"][0] for row in fitting),
        flops_per_s_by_dtype=agreed,
        bandwidth_bytes_per_s=_agreed_value(fitting, "bandwidth_bytes_per_s"),
        source="; ".join(dict.fromkeys(row["source"] for row in fitting)),
        source_date=min(row["as_of"] for row in fitting),
        memory_gib=_agreed_value(fitting, "memory_gib"),
        gpu_cores=_agreed_value(fitting, "gpu_cores"),
    )


def _fits(row: Mapping[str, Any], folded: FoldedName, memory_bytes: int | None) -> bool:
    memory_gib = row.get("memory_gib")
    if memory_bytes is not None and memory_gib is not None:
        low, high = _REPORTED_MEMORY_SHARE
        if not low <= memory_bytes / (memory_gib * 2**30) <= high:
            return False
    names = [*row["names"], *([row["family"]] if "family" in row else [])]
    return any(_same_device(fold_name(name), folded, memory_gib) for name in names)


def _same_device(row_name: FoldedName, asked: FoldedName, row_memory_gib: int | None) -> bool:
    """Same words, and a memory size in the name asked for is that of the row's name or row."""
    if row_name.words != asked.words:
        return False
    return asked.memory_gib in (None, row_name.memory_gib or row_memory_gib)


def _agreed_rates(fitting: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    first = fitting[0]["flops_per_s"]
    return {
        dtype: float(rate)
        for dtype, rate in first.items()
        if all(row["flops_per_s"].get(dtype) == rate for row in fitting)
    }


def _agreed_value(fitting: Sequence[Mapping[str, Any]], key: str) -> Any:
    values = {row.get(key) for row in fitting}
    return values.pop() if len(values) == 1 else None
