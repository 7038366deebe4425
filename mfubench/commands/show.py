"""`mfubench show FILE`: the table of a saved run again."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from mfubench.arguments import UserError, user_path


def add_parser(commands: Any) -> None:
    """Add `show` to the command line."""
    parser = commands.add_parser("show", help="print the table of a saved run again")
    parser.add_argument("result", type=user_path, help="a result file")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the table; raises UserError for a file that is not a valid result of this suite."""
    from mfubench.report.table import render
    from mfubench.results.read import ResultError, read_result, shown

    try:
        result = read_result(arguments.result)
        if result.run.header is None:
            raise ResultError(f"{result.path} has no case of this suite; pytest-benchmark reads it")
        with shown(result.path):
            text = render([record for record, _ in result.records], color=sys.stdout.isatty())
    except ResultError as error:
        raise UserError(str(error)) from None
    print(text, end="")
    return 0
