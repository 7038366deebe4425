"""Another machine: a folder of its results, or a device by its maker's name."""

from __future__ import annotations

from pathlib import Path

from mfubench.hardware.fingerprint import fingerprint
from mfubench.hardware.peaks import lookup
from mfubench.predict.document import Probe
from mfubench.predict.machine import (
    Machine,
    UnknownMachineError,
    machine_of,
    refuse_device_name,
    scaled,
    stored_ceilings,
    stored_probe,
)
from mfubench.predict.table import from_ceilings, from_peaks


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
        found = stored_probe(place, device="cpu") if place.is_dir() else None
        if found is not None:
            return found[0]
    return None
