"""What one side is: a training script and how it is run."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mfubench.arguments import UserError
from mfubench.hardware.affinity import parse_cpu_list, usable_cpus

LAUNCHERS = ("torchrun", "accelerate", "deepspeed", "mpirun", "srun")
VARIABLE = re.compile(r"[A-Za-z_]\w*=")
HOW_TYPED = 'type for instance "train.py config/small.py"'


@dataclass(frozen=True, slots=True, kw_only=True)
class SideSpec:
    """One side: what is run, by which Python, in which environment, in which folder."""

    label: str
    words: tuple[str, ...]
    """The script or the module, and its arguments."""
    is_module: bool = False
    python: str = sys.executable
    python_as_typed: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = field(default_factory=Path.cwd)
    revision: str | None = None
    commit: str | None = None
    adjust: Mapping[str, Any] = field(default_factory=dict)
    """Settings that are turned from outside, in its process: `script/adjust.py`."""
    not_from: Path | None = None
    """No module may be loaded from here: the user's tree, where the side has a checkout."""

    @property
    def command(self) -> list[str]:
        """What follows the Python: -m or not, the script or the module, and its arguments."""
        return [*(["-m"] if self.is_module else []), *self.words]

    def digest(self) -> str:
        """What identifies the side's code and settings, for pairs that are kept."""
        about = (
            self.words,
            self.python,
            sorted(self.environment.items()),
            str(self.commit),
            sorted(self.adjust.items()),
        )
        sha = hashlib.sha256(repr(about).encode())
        if self.commit is None and not self.is_module:
            script = self.cwd / self.words[0]
            for path in sorted({script, *script.parent.glob("*.py")}):
                if path.is_file():
                    sha.update(path.name.encode() + path.read_bytes())
        return sha.hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command as typed: `train.py …` or `-m package.train …`; before it a Python or none, and
    before that variables as a shell has them, and `taskset -c` with a list of processors."""

    words: tuple[str, ...]
    is_module: bool
    python: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    cpus: tuple[int, ...] = ()
    """Empty: all that this process may use."""

    @property
    def adjust(self) -> dict[str, Any]:
        """What is set in its process."""
        return {"cpus": list(self.cpus)} if self.cpus else {}


def parse_command(typed: str, how: str = HOW_TYPED) -> Command:
    """The parts of a command; `how` says how one is typed. Raises UserError.

    >>> command = parse_command("OMP_NUM_THREADS=1 python -m pkg.train --lr 1")
    >>> command.words, command.python, command.environment
    (('pkg.train', '--lr', '1'), 'python', {'OMP_NUM_THREADS': '1'})
    """
    try:
        words = shlex.split(typed, posix=os.name == "posix")
    except ValueError as error:
        raise UserError(f"{typed!r} is no command: {error}") from None
    environment = _leading_variables(words)
    cpus = _leading_binding(words, typed)
    python = None
    if words and Path(words[0]).name in LAUNCHERS:
        raise UserError(
            f"{words[0]} starts several processes; a side is one: name the script itself"
        )
    if words and Path(words[0]).name.removesuffix(".exe").startswith("python"):
        python, *words = words
    is_module = bool(words) and words[0] == "-m"
    words = words[1:] if is_module else words
    if not words or words[0].startswith("-"):
        raise UserError(f"{typed!r} names no script; {how}")
    return Command(
        words=tuple(words),
        is_module=is_module,
        python=python,
        environment=environment,
        cpus=cpus,
    )


def _leading_variables(words: list[str]) -> dict[str, str]:
    """Taken off the words."""
    found = {}
    while words and VARIABLE.match(words[0]):
        name, _, found[name] = words.pop(0).partition("=")
    return found


def _leading_binding(words: list[str], typed: str) -> tuple[int, ...]:
    """The processors that `taskset -c` binds to, taken off the words. Raises UserError."""
    if not words or Path(words[0]).name != "taskset":
        return ()
    if not hasattr(os, "sched_setaffinity"):
        raise UserError(f"{typed!r}: taskset needs Linux; leave it out")
    if len(words) < 3 or words[1] not in ("-c", "--cpu-list"):
        raise UserError(
            f"{typed!r}: of taskset only a list of processors is understood; type for instance "
            '"taskset -c 0-3 python train.py"'
        )
    here = usable_cpus()
    try:
        cpus = parse_cpu_list(words[2])
    except ValueError:
        raise UserError(
            f"{words[2]!r} is no list of processors; type for instance taskset -c 0-3,8"
        ) from None
    if unknown := sorted(set(cpus) - set(here)):
        raise UserError(
            f"taskset -c {words[2]}: processor {unknown[0]} cannot be used here; allowed: "
            f"{','.join(map(str, here))}"
        )
    del words[:3]
    return cpus


def parse_environment(typed: str) -> dict[str, str]:
    """Variables from `A=1` or `A=1 B=2`; nothing from an empty text. Raises UserError.

    >>> parse_environment("OMP_NUM_THREADS=1 A='b c'")
    {'OMP_NUM_THREADS': '1', 'A': 'b c'}
    """
    try:
        words = shlex.split(typed)
    except ValueError as error:
        raise UserError(f"--env {typed!r}: {error}") from None
    found = _leading_variables(words)
    if words:
        raise UserError(f"--env {typed!r} sets no variable; type for instance OMP_NUM_THREADS=1")
    return found


def found_python(typed: str) -> str:
    """The path of a Python. Raises UserError where there is none."""
    path = shutil.which(typed)
    if path is None:
        raise UserError(
            f"there is no Python {typed!r} that can be run; give its path: venv/bin/python"
        )
    return os.path.abspath(path)  # noqa: PTH100 - a link of a virtual environment stays


def short_path(text: str) -> str:
    """The end of a long path: no folder of the user's is in a document."""
    path = Path(text)
    return str(Path(*path.parts[-3:])) if path.is_absolute() else text
