"""`mfubench validate FILE…`: check result files against the schema."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from mfubench.arguments import UserError, user_path
from mfubench.results.folder import DOCUMENTS


def add_parser(commands: Any) -> None:
    """Add `validate` to the command line."""
    parser = commands.add_parser("validate", help="check result files against the schema")
    parser.add_argument("results", type=user_path, nargs="*", help="result files")
    parser.add_argument(
        "--schema", choices=("run", *DOCUMENTS), help="print the JSON Schema of a kind of file"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print each file's problems; the exit status is 1 when a file breaks the schema."""
    from mfubench.report.bodies import BODIES
    from mfubench.results.read import ResultError, read_json
    from mfubench.results.schema import document_schema, problems, run_schema

    kind = arguments.schema
    if bool(arguments.results) is (kind is not None):
        raise UserError(f"give result files, or --schema with one of run, {', '.join(DOCUMENTS)}")
    if kind is not None:
        schema = run_schema() if kind == "run" else document_schema(kind, BODIES[kind])
        print(json.dumps(schema, indent=1))
    status = 0
    for path in arguments.results:
        try:
            found = problems(read_json(path), BODIES)
        except ResultError as error:
            found = [str(error)]
        for problem in found:
            print(f"{path}: {problem}", file=sys.stderr)
        if not found:
            print(f"{path}: valid")
        status |= bool(found)
    return status
