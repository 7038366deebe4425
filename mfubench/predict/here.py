"""This machine's probe: the stored one, or measured and kept."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from mfubench.arguments import UserError
from mfubench.predict.document import Mode, Probe
from mfubench.predict.machine import threads_of
from mfubench.results.outcomes import Dtype

Modes = Callable[[str, Sequence[Dtype]], list[Mode]]
"""From a device and its native dtypes to the dtypes and modes that a probe must have."""


def probe_here(
    arguments: argparse.Namespace, modes: Modes, device: str | None = None
) -> tuple[Probe, Path | None]:
    """This machine's probe: the stored one, completed or made anew where it lacks a mode."""
    from mfubench.hardware.fingerprint import fingerprint
    from mfubench.predict.machine import stored_probe

    folder = arguments.results_dir / fingerprint().id
    wanted: dict[str, object] = {"threads": threads_of(arguments.threads)}
    if (version := torch_version()) is not None:
        wanted["torch_version"] = version
    stored = None if arguments.probe else stored_probe(folder, kind=device, **wanted)
    if stored is not None:
        probe, path = stored
        have = {(a.setting.dtype, a.setting.compile) for a in probe.anchors}
        if all(mode in have for mode in modes(probe.device, probe.native_dtypes)):
            return probe, path
    return _measured(device, arguments, modes, stored and stored[0]), None


def _measured(
    name: str | None, arguments: argparse.Namespace, modes: Modes, stored: Probe | None
) -> Probe:
    """Probe this machine and keep the document. torch is needed from here on."""
    from mfubench.arguments import refuse_device
    from mfubench.results import document

    if refusal := document.refusal_to_write(document.machine_dir(arguments.results_dir)):
        raise UserError(refusal)
    import msgspec
    import torch

    from mfubench.hardware.devices import available_devices, parse_device
    from mfubench.predict.machine import PROBE
    from mfubench.predict.measure import probed
    from mfubench.suite.session import device_key

    if name is not None:
        refuse_device(name)
        device = parse_device(name)
    else:
        device = next((d for d in available_devices() if d.kind != "cpu"), parse_device("cpu"))
    native = msgspec.convert(device.native_dtypes(), tuple[Dtype, ...])
    wanted = modes(device_key(device), native)
    for dtype, _ in wanted:
        if reason := device.unsupported_reason(dtype):
            raise UserError(f"{dtype} cannot be used on {device.kind}: {reason}")
    torch.set_num_threads(threads_of(arguments.threads))

    def say(text: str) -> None:
        print(f"  probing: {text}", file=sys.stderr, flush=True)

    with machine_held(arguments.wait):
        probe = probed(device, wanted, known=stored, say=say)
    print(f"  {document.save(PROBE, probe, arguments.results_dir)}", file=sys.stderr)
    return probe


@contextmanager
def machine_held(wait_s: float) -> Iterator[None]:
    """Nobody else measures on this machine meanwhile; raises UserError when somebody still does
    after `wait_s` seconds."""
    from mfubench.pairs.machine_lock import BusyError, machine_lock

    try:
        with machine_lock(wait_s):
            yield
    except BusyError as error:
        raise UserError(str(error)) from None


def torch_version() -> str | None:
    """torch's version without importing it; None where it is not installed."""
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None
