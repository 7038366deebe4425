"""`mfubench advise "train.py …"`: what makes a script that is not ours train faster here."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mfubench.arguments import UserError, refuse_device

if TYPE_CHECKING:
    from mfubench.advise.advice import Advice
    from mfubench.knobs.knob import Knob, Machine
    from mfubench.sides.spec import SideSpec

HOW = 'type for instance mfubench advise "train.py config/small.py"'
OURS = {"preset": "--preset", "corpus": "--corpus", "threads": "--threads"}


def advice_of_script(arguments: argparse.Namespace) -> Advice:
    """The search's advice. Raises UserError where the script cannot be run as a side."""
    from mfubench.advise.script_bench import fresh_processes
    from mfubench.advise.script_search import ScriptSearch, UnrunnableError
    from mfubench.pairs.machine_lock import BusyError, machine_lock
    from mfubench.sides.bench import TooShortError

    for name, option in OURS.items():
        if getattr(arguments, name) is not None:
            raise UserError(
                f"{option} is for our own loop; a script has its settings among its arguments"
            )
    refuse_device(arguments.device)
    base = _side(arguments.training)
    machine = _machine(arguments.device)
    knobs = _knobs(arguments.knobs, machine)
    try:
        with machine_lock(0.0), fresh_processes() as bench, contextlib.chdir(base.cwd):
            return ScriptSearch(
                base,
                bench,
                machine,
                knobs,
                arguments.budget,
                say=lambda text: print(f"  {text}", file=sys.stderr, flush=True),
            ).run()
    except (UnrunnableError, TooShortError, BusyError) as error:
        raise UserError(str(error)) from None


def _side(typed: str) -> SideSpec:
    from mfubench.sides.interpreter import path_of
    from mfubench.sides.spec import SideSpec, found_python, parse_command, short_path

    command = parse_command(typed, HOW)
    here = Path.cwd()
    script = here / command.words[0]
    if not command.is_module and not (script.is_file() or (script / "__main__.py").is_file()):
        raise UserError(f"there is no script {command.words[0]!r} in {here}; {HOW}")
    python = sys.executable if command.python is None else found_python(command.python)
    path_of(python, "this Python" if command.python is None else short_path(command.python), here)
    return SideSpec(
        label="as it is",
        words=command.words,
        is_module=command.is_module,
        python=python,
        python_as_typed=command.python,
        environment=command.environment,
        adjust=command.adjust,
        cwd=here,
    )


def _machine(device: str) -> Machine:
    from mfubench.knobs.bench import machine_of
    from mfubench.measure.loop_config import LoopConfig

    return machine_of(LoopConfig(device=device))


def _knobs(names: str | None, machine: Machine) -> Sequence[Knob]:
    from mfubench.knobs.script import script_knobs

    known = {knob.name: knob for knob in script_knobs(machine)}
    if names is None:
        return tuple(known.values())
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in known:
            raise UserError(
                f"{name!r} is no knob that can be turned from outside a script; there are: "
                f"{', '.join(known)}"
            )
    if not wanted:
        raise UserError("--knobs names none; type for instance --knobs 'adamw fused,compile'")
    return tuple(known[name] for name in wanted)
