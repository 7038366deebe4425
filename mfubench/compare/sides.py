"""What is compared: the sides that several commands, Pythons, environments or revisions make."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mfubench.arguments import UserError

LAUNCHERS = ("torchrun", "accelerate", "deepspeed", "mpirun", "srun")
HOW = (
    'give several commands ("train.py --compile=False" "train.py --compile=True"), or one command '
    "and several of --python, --env or --rev; the same command twice compares it with itself"
)


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

    def digest(self) -> str:
        """What identifies the side's code and settings, for pairs that are kept."""
        about = (self.words, self.python, sorted(self.environment.items()), str(self.commit))
        sha = hashlib.sha256(repr(about).encode())
        if self.commit is None and not self.is_module:
            script = self.cwd / self.words[0]
            for path in sorted({script, *script.parent.glob("*.py")}):
                if path.is_file():
                    sha.update(path.name.encode() + path.read_bytes())
        return sha.hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command as typed: `train.py …` or `-m package.train …`, a Python before it or none."""

    words: tuple[str, ...]
    is_module: bool
    python: str | None = None


def parse_command(typed: str) -> Command:
    """The parts of a command. Raises UserError.

    >>> parse_command("python -m pkg.train --lr 1")
    Command(words=('pkg.train', '--lr', '1'), is_module=True, python='python')
    """
    try:
        words = shlex.split(typed, posix=os.name == "posix")
    except ValueError as error:
        raise UserError(f"{typed!r} is no command: {error}") from None
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
        raise UserError(f"{typed!r} names no script; {HOW}")
    return Command(words=tuple(words), is_module=is_module, python=python)


def parse_environment(typed: str) -> dict[str, str]:
    """Variables from `A=1` or `A=1 B=2`; nothing from an empty text. Raises UserError.

    >>> parse_environment("OMP_NUM_THREADS=1 A='b c'")
    {'OMP_NUM_THREADS': '1', 'A': 'b c'}
    """
    try:
        pairs = [word.partition("=") for word in shlex.split(typed)]
    except ValueError as error:
        raise UserError(f"--env {typed!r}: {error}") from None
    for name, equals, _ in pairs:
        if not name or not equals:
            raise UserError(
                f"--env {typed!r} sets no variable; type for instance OMP_NUM_THREADS=1"
            )
    return {name: value for name, _, value in pairs}


def found_python(typed: str) -> str:
    """The path of a Python. Raises UserError where there is none."""
    path = shutil.which(typed)
    if path is None:
        raise UserError(
            f"there is no Python {typed!r} that can be run; give its path: venv/bin/python"
        )
    return os.path.abspath(path)  # noqa: PTH100 - a link of a virtual environment stays


def make_sides(
    commands: Sequence[str],
    pythons: Sequence[str] = (),
    environments: Sequence[str] = (),
    revisions: Sequence[str] = (),
) -> list[SideSpec]:
    """A side per command, Python, environment or revision; what is given once holds for all.

    Worktrees are not made yet. Raises UserError.
    """
    lists = {
        "commands": commands,
        "--python": pythons,
        "--env": environments,
        "--rev": revisions,
    }
    count = max(map(len, lists.values()))
    if count < 2:
        raise UserError(f"there is one side only; {HOW}")
    for name, values in lists.items():
        if len(values) not in (0, 1, count):
            raise UserError(
                f"{count} sides, but {len(values)} {name}: give one of them, or {count}"
            )
    parsed = [parse_command(text) for text in commands]
    labels = _labels({n: v for n, v in lists.items() if len(v) == count and len(set(v)) > 1}, count)
    sides = []
    for number in range(count):
        command = _of(parsed, number)
        python = _of(pythons, number) or command.python
        revision = _of(revisions, number)
        sides.append(
            SideSpec(
                label=labels[number],
                words=command.words,
                is_module=command.is_module,
                python=sys.executable if python is None else found_python(python),
                python_as_typed=None if python is None else _short(python),
                environment=parse_environment(_of(environments, number) or ""),
                revision=revision,
            )
        )
    return sides


def _of(values: Sequence[Any], number: int) -> Any:
    return values[number if len(values) > 1 else 0] if values else None


def _labels(differing: Mapping[str, Sequence[str]], count: int) -> list[str]:
    """What tells the sides apart; sides that nothing tells apart are numbered."""
    parts: list[list[str]] = [[] for _ in range(count)]
    for name, values in differing.items():
        shown = (
            _told_apart(values) if name == "commands" else [_short(v) or "as it is" for v in values]
        )
        for part, text in zip(parts, shown, strict=True):
            part.append(text)
    labels = [", ".join(part) or "run" for part in parts]
    return [
        f"{label} #{labels[: number + 1].count(label)}" if labels.count(label) > 1 else label
        for number, label in enumerate(labels)
    ]


def _told_apart(commands: Sequence[str]) -> list[str]:
    """
    >>> _told_apart(["train.py --lr=1 --x", "train.py --lr=2 --x"])
    ['--lr=1', '--lr=2']
    >>> _told_apart(["a.py", "a.py --fast"])
    ['a.py', 'a.py --fast']
    >>> _told_apart(["train.py config.py --x=1", "train.py config.py --x=1 --lr=2"])
    ['train.py', 'train.py --lr=2']
    """
    split = [text.split() for text in commands]
    shared = set(split[0]).intersection(*split[1:])
    told = [" ".join(word for word in words if word not in shared) for words in split]
    if all(told):
        return told
    # A side that has nothing of its own is called by what is run, and the others by what they add.
    return [f"{words[0]} {own}".rstrip() for words, own in zip(split, told, strict=True)]


def _short(text: str) -> str:
    """The end of a long path: no folder of the user's is in a document."""
    path = Path(text)
    return str(Path(*path.parts[-3:])) if path.is_absolute() else text
