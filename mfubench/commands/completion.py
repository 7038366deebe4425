"""`mfubench completion SHELL`: what a shell needs to complete commands, options and values."""

from __future__ import annotations

import argparse
from typing import Any

SHELLS = ("bash", "zsh")
WHERE = {
    "bash": "~/.local/share/bash-completion/completions/mfubench",
    "zsh": "a folder of your $fpath, as _mfubench",
}


def add_parser(commands: Any) -> None:
    """Add `completion` to the command line."""
    places = "; ".join(f"{shell}: {where}" for shell, where in WHERE.items())
    parser = commands.add_parser(
        "completion",
        help="print a shell's completion of commands, options and values",
        description=f"Print the completion of a shell. Where it goes: {places}.",
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell to print it for")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the completion."""
    import shtab

    print(shtab.complete(arguments.parser, shell=arguments.shell))
    return 0
