"""The device that a log came from, as the user names it.

It is the machine that reads the log only where the user says so, with `--device cpu`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

from mfubench.hardware.cpu import derived_peak
from mfubench.hardware.cpu_identity import cpu_identity
from mfubench.hardware.dtypes import DTYPES
from mfubench.hardware.peaks import lookup, rows

_MAKERS = ("nvidia", "geforce", "tesla", "amd", "instinct", "radeon")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedDevice:
    """A device by name, with what its maker specifies."""

    name: str | None = None
    """As the user gave it, None where it was not given."""
    flops_per_s_by_dtype: Mapping[str, float] = field(default_factory=dict)
    """Dense peaks; empty where the device is not known."""
    source: str = ""
    close_names: tuple[str, ...] = ()
    """Known devices with a name like it, where it is not known itself."""

    @property
    def problem(self) -> str | None:
        """Why there is no peak, None where there is one or no device was named."""
        if self.name is None or self.flops_per_s_by_dtype:
            return None
        near = "no known device is called like it"
        if self.close_names:
            near = f"like it are: {', '.join(self.close_names)}"
        return f"no peak is known for {self.name!r}, --peak-tflops X gives one; {near}"


def named_device(name: str | None, peak_tflops: float | None = None) -> NamedDevice:
    """The device called `name`, with the peak that was given (in TFLOP/s, for every format), else
    with those of the table; "cpu" is the CPU that reads the log, with its derived peak.

    >>> named_device("Apple M4").flops_per_s_by_dtype["float32"]
    4600000000000.0
    >>> named_device("abacus").problem
    "no peak is known for 'abacus', --peak-tflops X gives one; no known device is called like it"
    """
    if peak_tflops is not None:
        peaks = dict.fromkeys(DTYPES, peak_tflops * 1e12)
        given = name or "this device"
        return NamedDevice(name=given, flops_per_s_by_dtype=peaks, source="--peak-tflops")
    if name is None:
        return NamedDevice()
    if name.strip().casefold() == "cpu":
        return _this_cpu()
    if found := lookup(name):
        return NamedDevice(
            name=name, flops_per_s_by_dtype=found.flops_per_s_by_dtype, source=found.source
        )
    return NamedDevice(name=name, close_names=_close_names(name))


def _this_cpu() -> NamedDevice:
    """In float32 alone: `train.py` casts on CUDA alone."""
    name = f"{cpu_identity().model_name} (the CPU of this machine)"
    if (peak := derived_peak("float32")) is None:
        return NamedDevice(name=name)
    return NamedDevice(
        name=name, flops_per_s_by_dtype={"float32": peak.flops_per_s}, source=peak.source
    )


def _close_names(name: str) -> tuple[str, ...]:
    """Known names that resemble one, at most four, best first; makers' names do not count.

    >>> _close_names("rtx 4070ti")[0]
    'NVIDIA GeForce RTX 4070 Ti'
    """
    known = [known_name for row in rows() for known_name in row["names"]]
    by_core = {_core(known_name): known_name for known_name in reversed(known)}
    asked = _core(name)
    begins = sorted((core for core in by_core if asked and core.startswith(asked)), key=len)
    near = difflib.get_close_matches(asked, by_core, n=4, cutoff=0.7)
    return tuple(by_core[core] for core in dict.fromkeys([*begins, *near]))[:4]


def _core(name: str) -> str:
    words = name.casefold().replace("-", " ").split()
    return "".join(word for word in words if word not in _MAKERS)


def matmul_dtype(
    settings: Mapping[str, str], asked: str | None, peaks: Mapping[str, float]
) -> tuple[str | None, str]:
    """The format in which a run multiplied matrices, and how that is known.

    nanoGPT casts on CUDA alone: any other device runs float32, whatever `dtype` says; and there its
    float32 is TF32, because it allows it (`train.py`).

    >>> matmul_dtype({"device": "cpu", "dtype": "bfloat16"}, None, {})
    ('float32', 'train.py casts on CUDA alone')
    """
    if asked is not None:
        return asked, "--dtype"
    logged = settings.get("dtype")
    if "cuda" not in settings.get("device", "cuda"):
        return "float32", "train.py casts on CUDA alone"
    if logged == "float32" and "tf32" in peaks:
        return "tf32", "the log's dtype is float32, and train.py allows TF32 on CUDA"
    if logged in {"float32", "bfloat16", "float16"}:
        return logged, "the log's dtype"
    native = next((dtype for dtype in ("bfloat16", "float16", "float32") if dtype in peaks), None)
    if native is None:
        return None, "neither the log nor --dtype says"
    return native, "train.py's default, as the log does not say"
