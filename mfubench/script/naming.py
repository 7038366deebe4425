"""What a script's case is called, and what of its arguments may be kept."""

from __future__ import annotations

import hashlib
import os
import re

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH", re.IGNORECASE)


def case_name(label: str, argv: list[str], *, ranks: int | None = None) -> str:
    """The script's name, and where it has arguments a few digits that stand for them: two runs of
    one script with other arguments are two cases. One rank of several is named as such; with
    `ranks`, it is the name of all of them together.

    >>> case_name("train.py", ["train.py"], ranks=8)
    'train.py-8ranks'
    """
    arguments = argv[1:]
    world, rank = os.environ.get("WORLD_SIZE", "1"), os.environ.get("RANK", "0")
    if ranks is not None:
        label += f"-{ranks}ranks"
    elif world not in ("", "1"):
        label += f"-rank{rank}of{world}"
    if not arguments:
        return label
    return f"{label}-{hashlib.sha256(chr(0).join(arguments).encode()).hexdigest()[:6]}"


def without_secret(argument: str, before: str) -> str:
    """An argument as it may stand in a file that is made to be shared.

    >>> without_secret("--wandb_key=abc", ""), without_secret("abc", "--api-key")
    ('--wandb_key=…', '…')
    >>> without_secret("--lr=0.1", "")
    '--lr=0.1'
    """
    name, equals, _ = argument.partition("=")
    if equals and _SECRET.search(name):
        return f"{name}=…"
    if before.startswith("-") and "=" not in before and _SECRET.search(before):
        return "…"
    return argument
