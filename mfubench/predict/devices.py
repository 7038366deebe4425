"""The devices that a prediction is asked for, by their names."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from mfubench.arguments import UserError
from mfubench.options import parse_device
from mfubench.predict import HERE
from mfubench.predict.document import Grade, Mode
from mfubench.predict.machine import Machine
from mfubench.results.outcomes import Dtype


def named_devices(text: str) -> list[str]:
    """The devices in a list that is separated by commas; raises UserError for an empty one."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise UserError(
            f"--devices {text!r} has an empty name in it; give for instance "
            '--devices here,"NVIDIA GeForce RTX 4070 Ti",results/OTHER'
        )
    return list(dict.fromkeys(names))


def is_here(name: str) -> bool:
    """Whether a name is a device of this machine."""
    try:
        return name == HERE or bool(parse_device(name))
    except argparse.ArgumentTypeError:
        return False


def machine_named(
    name: str, arguments: argparse.Namespace, compile_modes: Sequence[bool]
) -> tuple[Machine, Mapping[Grade, float]]:
    """What is known of a device by its name, and how wide its intervals are; this machine is probed
    where nothing is stored.

    Raises UserError for a device that nothing is known of.
    """
    from mfubench.hardware.fingerprint import fingerprint
    from mfubench.predict.elsewhere import machine_elsewhere
    from mfubench.predict.here import probe_here
    from mfubench.predict.intervals import half_widths_of
    from mfubench.predict.machine import UnknownMachineError, machine_of

    if not is_here(name):
        try:
            machine = machine_elsewhere(name, arguments.results_dir)
        except UnknownMachineError as error:
            raise UserError(str(error)) from None
        folder = Path(name).expanduser()
        return machine, half_widths_of(folder, machine.device)

    def modes(_: str, native: Sequence[Dtype]) -> list[Mode]:
        return [(d, c) for d in arguments.dtypes or native for c in compile_modes]

    kind = None if name == HERE else parse_device(name)
    probe, path = probe_here(arguments, modes, kind)
    folder = arguments.results_dir / fingerprint().id
    return machine_of(probe, str(path)), half_widths_of(folder, probe.device)
