"""`mfubench validate FILE…`: check result files against the schema."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    """Add `validate` to the command line."""
    parser = commands.add_parser("validate", help="check result files against the schema")
    parser.add_argument("results", type=Path, nargs="+", help="result files")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print each file's problems; the exit status is 1 when a file breaks the schema."""
    from mfubench.results.read import ResultError, read_json
    from mfubench.results.schema import problems

    status = 0
    for path in arguments.results:
        try:
            found = problems(read_json(path))
        except ResultError as error:
            found = [str(error)]
        for problem in found:
            print(f"{path}: {problem}", file=sys.stderr)
        if not found:
            print(f"{path}: valid")
        status |= bool(found)
    return status
