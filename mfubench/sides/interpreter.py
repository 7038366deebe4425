"""What a side's Python has: torch, and folders of the user's tree on its path."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from mfubench.arguments import UserError

TIMEOUT_S = 60.0
LEAST_PYTHON = (3, 11)
_ASK = (
    "import importlib.util, json, sys; print(json.dumps([list(sys.version_info[:2]), "
    "importlib.util.find_spec('torch') is not None, sys.path[1:]]))"
)


def path_of(python: str, shown: str, cwd: Path) -> list[str]:
    """The path that this Python imports from. Raises UserError where it cannot run a side, `shown`
    being what the user calls it."""
    try:
        done = subprocess.run(
            [python, "-c", _ASK],
            cwd=cwd,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
        version, has_torch, path = json.loads(done.stdout.splitlines()[-1])
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        raise UserError(
            f"{shown} does not run as a Python; give its path: venv/bin/python"
        ) from None
    if tuple(version) < LEAST_PYTHON:
        least, given = (".".join(map(str, one)) for one in (LEAST_PYTHON, version))
        raise UserError(f"{shown} is Python {given}; {least} or later is needed")
    if not has_torch:
        raise UserError(
            f"{shown} has no torch; install it there, or name the Python of the environment that "
            "the script is run in"
        )
    return [str(entry) for entry in path]


def moved_path(path: Sequence[str], root: Path, tree: Path) -> str | None:
    """A `PYTHONPATH` with the entries that lie in the user's tree, as they are in a checkout: what
    an editable installation adds would else be imported from the user's tree by both sides. None
    where there is none.

    >>> moved_path(["/repo/src", "/usr/lib/python3"], Path("/repo"), Path("/tmp/t"))
    '/tmp/t/src'
    """
    own = root.resolve()
    found = []
    for entry in path:
        whole = Path(entry).resolve()
        if "site-packages" in whole.parts or not whole.is_relative_to(own):
            continue
        moved = tree / whole.relative_to(own)
        if moved not in found:
            found.append(moved)
    return os.pathsep.join(map(str, found)) or None
