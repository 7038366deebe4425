"""The command line: every command that is not a pytest run adds itself here.

Nothing heavy is imported before a command needs it; `mfubench --help` answers at once.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence

from mfubench_model.config import ConfigError

from mfubench import __version__
from mfubench.advise import command as advise
from mfubench.arguments import UserError
from mfubench.commands import breakdown, device, flops, report, show, validate
from mfubench.compare import command as compare
from mfubench.explain import command as explain
from mfubench.gate.command import run as gate
from mfubench.interrupts import terminated_as_interrupted
from mfubench.script import command as script
from mfubench.trace import command as trace

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

COMMANDS = (
    *(script, flops, explain, trace, breakdown, advise, compare, gate),
    *(report, device, show, validate),
)
"""In the order in which `mfubench --help` lists them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal or pipe may not be UTF-8, and a file's name no text at all.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help()
        return 0
    try:
        if arguments.command == "run":  # the script's signals and its end are its own
            return script.run(arguments)
        with terminated_as_interrupted():
            status: int = arguments.run(arguments)
    except (UserError, ConfigError) as error:
        print(f"mfubench {arguments.command}: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except BrokenPipeError:  # `mfubench … | head`
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        print(f"mfubench {arguments.command}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return status


def build_parser() -> argparse.ArgumentParser:
    """The command line. docs/commands.md describes it; a test holds the two together."""
    parser = argparse.ArgumentParser(
        prog="mfubench",
        description="What share of this machine does GPT training use? To measure, type: "
        "pytest benchmarks/",
    )
    parser.add_argument("--version", action="version", version=f"mfubench {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser
