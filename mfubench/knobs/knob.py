"""What a knob is, and the reasons why one does not apply to a machine."""

from __future__ import annotations

from collections.abc import Callable
from ctypes.util import find_library
from dataclasses import dataclass, field
from typing import Any

from mfubench.hardware.cpu import UsableCores
from mfubench.hardware.devices import Device
from mfubench.measure.loop_config import LoopConfig

Reason = str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a knob may ask about before it is tried."""

    device: Device
    cores: UsableCores
    cpus: tuple[int, ...]
    fast_cpus: tuple[int, ...]
    """Performance cores where the machine has two kinds, else empty."""
    vocab_size: int


Change = Callable[[LoopConfig, Machine], dict[str, Any]]


def _always(machine: Machine) -> Reason:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """One change."""

    name: str
    before: str
    after: str
    change: Change
    nanogpt: str
    """What to type for nanoGPT's train.py, or what to change in it."""
    pytorch: str
    """The same in a plain PyTorch script."""
    changes_numerics: bool = False
    """Whether the loss must be compared: another rounding, another batch, another function."""
    aims_at: tuple[str, ...] = ()
    """Bars of the breakdown that it can take time from; empty: any."""
    long_shot: bool = False
    """Known to cost speed on most machines, for memory or as a check: a search tries it last."""
    inapplicable: Callable[[Machine], Reason] = field(default=_always)
    """Why it cannot be measured here, None where it can."""

    @property
    def is_typed(self) -> bool:
        """Whether flags and variables say it all; else train.py or model.py must be changed."""
        return self.nanogpt.startswith("--") or self.nanogpt.endswith("python train.py")


def only_cuda(machine: Machine) -> Reason:
    kind = machine.device.kind
    return None if kind == "cuda" else f"for NVIDIA and AMD GPUs; this device is {kind}"


def only_cpu(machine: Machine) -> Reason:
    kind = machine.device.kind
    return None if kind == "cpu" else f"for training on the CPU; this device is {kind}"


def supports(dtype: str) -> Callable[[Machine], Reason]:
    def reason(machine: Machine) -> Reason:
        unsupported = machine.device.unsupported_reason(dtype)
        only_converts = dtype not in machine.device.native_dtypes()
        if unsupported is None and machine.device.kind == "cpu" and only_converts:
            return f"this {machine.device.kind} only converts to {dtype}: many times slower"
        return unsupported

    return reason


def several_cores(machine: Machine) -> Reason:
    return only_cpu(machine) or (
        None if machine.cores.count >= 2 else "this machine has one usable core"
    )


def hybrid(machine: Machine) -> Reason:
    return only_cpu(machine) or (None if machine.fast_cpus else "this machine has one kind of core")


def smt(machine: Machine) -> Reason:
    return only_cpu(machine) or (
        None
        if machine.cores.physical < len(machine.cpus)
        else "every usable processor here is a core of its own"
    )


def unpadded(multiple: int) -> Callable[[Machine], Reason]:
    def reason(machine: Machine) -> Reason:
        padded = machine.vocab_size % multiple == 0
        return f"the vocabulary is a multiple of {multiple} already" if padded else None

    return reason


def library_file(name: str) -> str | None:
    """The file of a library that is installed here; Debian has tcmalloc as tcmalloc_minimal."""
    return find_library(f"{name}_minimal") or find_library(name)


def installed(name: str) -> Callable[[Machine], Reason]:
    def reason(machine: Machine) -> Reason:
        found = library_file(name)
        return only_cpu(machine) or (None if found else f"lib{name} is not installed here")

    return reason
