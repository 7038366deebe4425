"""What is compared: the sides that several commands, Pythons, environments or revisions make."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from mfubench.arguments import UserError
from mfubench.sides.spec import (
    SideSpec,
    found_python,
    parse_command,
    parse_environment,
    short_path,
)

HOW = (
    'give several commands ("train.py --compile=False" "train.py --compile=True"), or one command '
    "and several of --python, --env or --rev; the same command twice compares it with itself"
)


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
    parsed = [parse_command(text, HOW) for text in commands]
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
                python_as_typed=None if python is None else short_path(python),
                environment={
                    **command.environment,
                    **parse_environment(_of(environments, number) or ""),
                },
                revision=revision,
                adjust=command.adjust,
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
            _told_apart(values)
            if name == "commands"
            else [short_path(v) or "as it is" for v in values]
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
    >>> _told_apart(["train.py", "OMP_NUM_THREADS=1 python train.py"])
    ['train.py', 'OMP_NUM_THREADS=1 python']
    """
    split = [text.split() for text in commands]
    shared = set(split[0]).intersection(*split[1:])
    told = [" ".join(word for word in words if word not in shared) for words in split]
    if all(told):
        return told
    # A side that has nothing of its own is called by what is run, and the others by what they add.
    return [
        own if words[0] in own.split() else f"{words[0]} {own}".rstrip()
        for words, own in zip(split, told, strict=True)
    ]
