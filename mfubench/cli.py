"""The command line: every command that is not a pytest run adds itself here.

Nothing heavy is imported before a command needs it; `mfubench --help` answers at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from mfubench_model.config import ConfigError

from mfubench import __version__
from mfubench.advise import command as advise
from mfubench.arguments import UserError
from mfubench.commands import breakdown, device, flops, report, show, validate
from mfubench.explain import command as explain
from mfubench.gate.command import run as gate
from mfubench.interrupts import terminated_as_interrupted
from mfubench.script import command as script
from mfubench.streams import safe_streams, shortened
from mfubench.trace import command as trace

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

COMMANDS = (
    *(script, flops, explain, trace, breakdown, advise, gate),
    *(report, device, show, validate),
)
"""In the order in which `mfubench --help` lists them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    with safe_streams() as out:
        arguments = build_parser().parse_args(argv)
        if arguments.command != "run":
            status = _outcome(arguments)
            out.flush()
            if out.problem is not None and not out.is_gone:
                words = getattr(out.problem, "strerror", None) or out.problem
                _say(arguments, f"not all could be printed: {words}")
                return status or int(arguments.could_not_run)
            return status
    return _outcome(arguments)  # the script's streams are its own


def _outcome(arguments: argparse.Namespace) -> int:
    """Run the command; what cannot be done is one sentence."""
    try:
        if arguments.command is None:
            build_parser().print_help()
            return 0
        if arguments.command == "run":  # the script's signals and its end are its own
            return script.run(arguments)
        with terminated_as_interrupted():
            status: int = arguments.run(arguments)
            return status
    except KeyboardInterrupt:
        _say(arguments, "interrupted")
        return EXIT_INTERRUPTED
    except (UserError, ConfigError) as error:
        _say(arguments, str(error))
    except OSError as error:
        where = f" ({error.filename})" if error.filename is not None else ""
        _say(arguments, f"{error.strerror or error}{where}")
    except MemoryError:
        _say(arguments, "there is too little memory for this")
    return EXIT_BAD_INPUT


def _say(arguments: argparse.Namespace, text: str) -> None:
    """One sentence on standard error."""
    with safe_streams():
        print(f"mfubench {arguments.command}: {shortened(text)}", file=sys.stderr)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence that quotes no more than a line of what was given."""

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> object:
        if action.nargs is None and arg_strings == ["--"]:  # which becomes [] before Python 3.13
            raise argparse.ArgumentError(action, "'--' is no value")
        return super()._get_values(action, arg_strings)

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: {shortened(message)}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """The command line. docs/commands.md describes it; a test holds the two together."""
    parser = Parser(
        prog="mfubench",
        description="What share of this machine does GPT training use? To measure, type: "
        "pytest benchmarks/",
    )
    parser.add_argument("--version", action="version", version=f"mfubench {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    parser.set_defaults(could_not_run=EXIT_BAD_INPUT)
    for command in COMMANDS:
        command.add_parser(commands)
    return parser
