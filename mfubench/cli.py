"""The command line: every command adds itself here.

Nothing heavy is imported before a command needs it; `mfubench --help` answers at once.
"""

from __future__ import annotations

import argparse
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
from mfubench.compare import command as compare
from mfubench.defaults import Defaults, told
from mfubench.explain import command as explain
from mfubench.gate.command import run as gate
from mfubench.interrupts import terminated_as_interrupted
from mfubench.predict import command as predict
from mfubench.ranks import command as ranks
from mfubench.script import command as script
from mfubench.show.terminal import choose_color, has_color
from mfubench.streams import safe_streams, shortened
from mfubench.trace import command as trace

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

COMMANDS = (
    *(bench, script, flops, explain, trace, breakdown, ranks, predict, advise, compare, gate),
    *(report, device, show, validate, completion),
)
"""In the order in which `mfubench --help` lists them."""


OWN_STREAMS = ("run", "bench")
"""What writes to its streams by itself: the user's script, and pytest."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    with safe_streams() as out:
        try:
            if used := take_defaults(parser, words):
                print(f"mfubench: {used}", file=sys.stderr)
        except UserError as error:
            print(f"mfubench: {shortened(str(error))}", file=sys.stderr)
            return EXIT_BAD_INPUT
        arguments = parser.parse_args(words)
        choose_color(arguments.color)
        if out is not None:
            out.keep_styles = has_color(out.raw)
        arguments.parser = parser  # for the help and for the completion of a shell
        if arguments.command is not None:
            arguments.words = words[words.index(arguments.command) + 1 :]
        if arguments.command not in OWN_STREAMS:
            status = _outcome(arguments)
            if out is not None:
                out.flush()
                if out.problem is not None and not out.is_gone:
                    said = getattr(out.problem, "strerror", None) or out.problem
                    _say(arguments, f"not all could be printed: {said}")
                    return status or int(arguments.could_not_run)
            return status
    return _outcome(arguments)


def _outcome(arguments: argparse.Namespace) -> int:
    """Run the command; what cannot be done is one sentence."""
    try:
        if arguments.command is None:
            arguments.parser.print_help()
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
    parser.set_defaults(could_not_run=EXIT_BAD_INPUT)
    for command in COMMANDS:
        command.add_parser(commands)
    add_color(parser, default="auto")
    for own in parser.commands().values():
        add_color(own)
    return parser
