"""`mfubench show FILE`: the table of a saved run again."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from mfubench.arguments import UserError, add_json, user_path
from mfubench.options import QUESTIONS, known, listed

QUESTION_OF = {
    "ceilings": "ceiling",
    "knobs": "knob",
    "claims": "claim",
    "planted-costs": "planted",
}
"""Names of questions that differ from what stands in a record."""


def add_parser(commands: Any) -> None:
    """Add `show` to the command line."""
    parser = commands.add_parser("show", help="print the table of a saved run again")
    parser.add_argument("result", type=user_path, help="a result file")
    parser.add_argument(
        "--only",
        type=listed("question", known("question", tuple(QUESTIONS)), auto=False),
        metavar="NAMES",
        help=f"only these questions, separated by commas: {', '.join(QUESTIONS)}",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the table; raises UserError for a file that is not a valid result of this suite."""
    from mfubench.report.table import as_data, render
    from mfubench.results.read import ResultError, read_result, shown
    from mfubench.results.write import json_text
    from mfubench.show.terminal import has_color, width_of

    try:
        result = read_result(arguments.result)
        if result.run.header is None:
            raise ResultError(f"{result.path} has no case of this suite; pytest-benchmark reads it")
        asked = {QUESTION_OF.get(name, name) for name in arguments.only or ()}
        records = [
            record
            for record, _ in result.records
            if not asked or record.question.replace("breakdown-loop", "breakdown") in asked
        ]
        with shown(result.path):
            if arguments.json:
                text = json_text(as_data(records, str(result.path))) + "\n"
            else:
                text = render(records, color=has_color(sys.stdout), width=width_of(sys.stdout))
    except ResultError as error:
        raise UserError(str(error)) from None
    print(text, end="")
    return 0
