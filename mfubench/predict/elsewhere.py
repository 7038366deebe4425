"""What is stored of a device, for those who predict and never measure: a folder of a machine's
results, a device by its maker's name, this machine by its probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mfubench.hardware.fingerprint import fingerprint
from mfubench.hardware.peaks import lookup
from mfubench.predict import HERE
from mfubench.predict.document import Grade, Probe
from mfubench.predict.intervals import half_widths_of
from mfubench.predict.machine import (
    Machine,
    UnknownMachineError,
    machine_of,
    refuse_device_name,
    scaled,
    stored_ceilings,
    stored_probe,
    threads_of,
)
from mfubench.predict.table import from_ceilings, from_peaks
from mfubench.results.case_id import DEVICE_KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDevice:
    """A device, and how wide the intervals of what is said of it are."""

    machine: Machine
    half_widths: Mapping[Grade, float]
    """Natural logarithms of a ratio."""


def known_device(name: str, results_dir: Path) -> KnownDevice:
    """A device of this machine by its kind (or `here`), a folder of results, a device by its name.

    Nothing is measured. Raises UnknownMachineError where nothing is known of it.
    """
    if not name.strip():
        raise UnknownMachineError(
            "the name of the device is empty; give for instance 'NVIDIA GeForce RTX 4070 Ti'"
        )
    if name == HERE or name.partition(":")[0] in DEVICE_KINDS:
        known = known_here(results_dir, None if name == HERE else name)
        if known is None:
            what, option = "this machine", ""
            if name != HERE:
                what, option = f"this machine's {name}", f" --devices {name}"
            raise UnknownMachineError(
                f"no probe of {what} with {threads_of(None)} CPU threads is stored in "
                f"{results_dir}; type mfubench predict{option}, which makes one in a minute"
            )
        return known
    machine = machine_elsewhere(name, results_dir)
    widths = half_widths_of(Path(name).expanduser(), machine.device)
    return KnownDevice(machine=machine, half_widths=widths)


def known_here(
    results_dir: Path, kind: str | None = None, threads: int | None = None
) -> KnownDevice | None:
    """This machine by its newest stored probe, of one kind of device or of any; None without.

    It is one with these threads, else with those that a process here would use. The folder of
    results may be the machine's own.
    """
    own = fingerprint().id
    folder = results_dir if results_dir.name == own else results_dir / own
    stored = stored_probe(folder, kind=kind, threads=threads_of(threads))
    if stored is None:
        return None
    probe, path = stored
    return KnownDevice(
        machine=machine_of(probe, str(path)), half_widths=half_widths_of(folder, probe.device)
    )


def machine_elsewhere(name: str, results_dir: Path) -> Machine:
    """The machine of a folder, or a device by its name; raises UnknownMachineError."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return from_folder(folder, results_dir)
    peaks = lookup(name)
    if peaks is None:
        if "/" in name:
            raise UnknownMachineError(f"there is no folder {name}; give a machine's folder")
        raise UnknownMachineError(refuse_device_name(name))
    if peaks.bandwidth_bytes_per_s is None:
        raise UnknownMachineError(
            f"{name!r} may be {peaks.name}, and their bandwidths differ; give the name of one"
        )
    return from_peaks(peaks, name)


def from_folder(folder: Path, results_dir: Path) -> Machine:
    """A machine by its stored results: its probe, or its ceilings with a reference's operators."""
    stored = stored_probe(folder)
    if stored is not None:
        return machine_of(stored[0], str(stored[1]))
    ceilings, device, name = stored_ceilings(folder)
    if device.partition(":")[0] != "cpu":
        return from_ceilings(ceilings, lookup(name), device=device, name=name, source=str(folder))
    reference = _reference(results_dir, folder)
    if reference is None:
        raise UnknownMachineError(
            f"{folder} has ceilings and no probe, and there is no probe of another CPU to go by; "
            "type mfubench predict first, which probes this machine"
        )
    return scaled(
        reference,
        ceilings,
        device=device,
        name=name,
        source=str(folder),
        peaks={},
        total_memory_bytes=None,
    )


def _reference(results_dir: Path, folder: Path) -> Probe | None:
    """This machine's probe, or that of any other CPU beside it."""
    own = results_dir / fingerprint().id
    for place in (own, *sorted(p for p in results_dir.glob("*") if p != own), *folder.parents[:1]):
        found = stored_probe(place, kind="cpu") if place.is_dir() else None
        if found is not None:
            return found[0]
    return None
