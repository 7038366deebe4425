"""The command line: every command adds itself here.

Nothing heavy is imported before a command needs it; `mfubench --help` answers at once.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from mfubench_model.config import ConfigError

from mfubench import __version__
from mfubench.advise import command as advise
from mfubench.arguments import Parser, UserError, add_color
from mfubench.commands import (
    bench,
    breakdown,
    completion,
    device,
    flops,
    report,
    show,
    validate,
)
from mfubench.defaults import Defaults, told
from mfubench.explain import command as explain
from mfubench.gate.command import run as gate
from mfubench.interrupts import terminated_as_interrupted
from mfubench.script import command as script
from mfubench.show.terminal import choose_color
from mfubench.trace import command as trace

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

COMMANDS = (
    *(bench, script, flops, explain, trace, breakdown, advise, gate),
    *(report, device, show, validate, completion),
)
"""In the order in which `mfubench --help` lists them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal or pipe may not be UTF-8, and a file's name no text at all.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    words = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    try:
        if used := take_defaults(parser, words):
            print(f"mfubench: {used}", file=sys.stderr)
    except UserError as error:
        print(f"mfubench: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    arguments = parser.parse_args(words)
    if arguments.command is None:
        parser.print_help()
        return 0
    choose_color(arguments.color)
    arguments.parser = parser  # for the completion of a shell
    arguments.words = words[words.index(arguments.command) + 1 :]
    return run_command(arguments)


def run_command(arguments: argparse.Namespace) -> int:
    """Run a command that is parsed; what goes wrong is one sentence and an exit status."""
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


def take_defaults(parser: Parser, words: Sequence[str]) -> str:
    """Give the command that is typed the defaults of the user's pyproject.toml; what was given.

    Raises UserError for a table that has something else in it.
    """
    commands = parser.commands()
    command = next((word for word in words if word in commands), None)
    if command is None or not (defaults := Defaults.near(Path.cwd())).table:
        return ""
    defaults.check(commands)
    given = defaults.give(command, commands[command])
    return told(given, defaults.path) if given else ""


def build_parser() -> Parser:
    """The command line. docs/commands.md describes it; a test holds the two together."""
    parser = Parser(
        prog="mfubench",
        description="What share of this machine does GPT training use? To measure, type: "
        "mfubench bench",
    )
    parser.add_argument("--version", action="version", version=f"mfubench {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    add_color(parser, default="auto")
    for own in parser.commands().values():
        add_color(own)
    return parser
