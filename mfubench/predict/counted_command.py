"""`mfubench predict --counted FILE`: the time of a step of somebody's own model."""

from __future__ import annotations

import argparse
from pathlib import Path

from mfubench.arguments import UserError
from mfubench.options import COMPILE_MODES
from mfubench.predict.counted import COUNT, CountedStep, predict_counted
from mfubench.predict.devices import machine_named, named_devices
from mfubench.predict.machine import was_busy
from mfubench.predict.text import tell
from mfubench.results.read import ResultError, read_document


def run_counted(arguments: argparse.Namespace) -> int:
    """Print the predictions of a counted step; exit status 1 where none has a number."""
    step = _step(arguments.counted)
    arguments.dtypes = arguments.dtypes or (step.dtype,)
    modes = COMPILE_MODES[arguments.compile] or (False, True)
    notes, found = [], []
    for name in named_devices(arguments.devices):
        machine, half_widths = machine_named(name, arguments, modes)
        if doubt := was_busy(machine):
            notes.append(doubt)
        found += [
            predict_counted(
                step,
                machine,
                dtype=dtype,
                compile=compile,
                iterations=arguments.iterations,
                half_widths=half_widths,
            )
            for compile in modes
            for dtype in arguments.dtypes
        ]
    if step.optimizer != "AdamW":
        notes.append(f"The update of {step.optimizer} is predicted as AdamW's.")
    return tell(found, found, notes, as_json=arguments.json, measured=[], notes=notes)


def _step(path: Path) -> CountedStep:
    try:
        found = read_document(path)
        if found.header.kind == COUNT:
            return found.read(CountedStep)
    except ResultError as error:
        raise UserError(str(error)) from None
    kind = found.header.kind
    raise UserError(f"{path} is of kind {kind}; give a file that mfubench run --count saved")
