"""`mfubench device`: what this machine is, and where its peaks come from."""

from __future__ import annotations

import argparse
import json
from typing import Any

from mfubench.arguments import add_json, add_results_dir


def add_parser(commands: Any) -> None:
    """Add `device` to the command line."""
    parser = commands.add_parser(
        "device", help="what this machine is, and where its peaks come from"
    )
    add_json(parser)
    add_results_dir(parser, "where runs were saved, to show the ceilings they measured")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the machine as text or as JSON."""
    from mfubench.hardware.describe import describe_machine
    from mfubench.show.machine import machine_as_text

    machine = describe_machine(arguments.results_dir)
    print(json.dumps(machine, indent=1) if arguments.json else machine_as_text(machine))
    return 0
