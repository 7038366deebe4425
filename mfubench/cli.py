"""The command line: every command adds itself here.

Nothing heavy is imported before a command needs it; `mfubench --help` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from mfubench_model.config import ConfigError

from mfubench import __version__
from mfubench.arguments import Parser, UserError, add_color
from mfubench.defaults import Defaults, told
from mfubench.interrupts import terminated_as_interrupted
from mfubench.show.terminal import choose_color, has_color
from mfubench.streams import safe_streams, shortened

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

COMMANDS = {
    "bench": "mfubench.commands.bench",
    "run": "mfubench.script.command",
    "flops": "mfubench.commands.flops",
    "explain": "mfubench.explain.command",
    "trace": "mfubench.trace.command",
    "breakdown": "mfubench.commands.breakdown",
    "ranks": "mfubench.ranks.command",
    "predict": "mfubench.predict.command",
    "advise": "mfubench.advise.command",
    "compare": "mfubench.compare.command",
    "gate": "mfubench.gate.command.run",
    "report": "mfubench.commands.report",
    "device": "mfubench.commands.device",
    "show": "mfubench.commands.show",
    "validate": "mfubench.commands.validate",
    "completion": "mfubench.commands.completion",
}
"""What adds each command, in the order in which `mfubench --help` lists them. Only the one that is
typed is loaded."""
NEEDS_ALL = "completion"
"""The command that is about all commands."""


OWN_STREAMS = ("run", "bench")
"""What writes to its streams by itself: the user's script, and pytest."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    is_alone = bool(words) and words[0] in COMMANDS and words[0] != NEEDS_ALL
    parser = build_parser(words[0] if is_alone else None)
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
            return int(arguments.run(arguments))
        with terminated_as_interrupted():
            return int(arguments.run(arguments))
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
    except RuntimeError as error:
        if str(error) != "can't start new thread":
            raise
        _say(arguments, "there is too little memory, or room for threads, for this")
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
    defaults.check(commands if len(commands) == len(COMMANDS) else build_parser().commands())
    given = defaults.give(command, commands[command])
    return told(given, defaults.path) if given else ""


def build_parser(only: str | None = None) -> Parser:
    """The command line, or of it the command `only`. docs/commands.md describes it; a test holds
    the two together."""
    parser = Parser(
        prog="mfubench",
        description="What share of this machine does GPT training use? To measure, type: "
        "mfubench bench",
    )
    parser.add_argument("--version", action="version", version=f"mfubench {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    parser.set_defaults(could_not_run=EXIT_BAD_INPUT)
    for name, module in COMMANDS.items():
        if only in (None, name):
            importlib.import_module(module).add_parser(commands)
    add_color(parser, default="auto")
    for own in parser.commands().values():
        add_color(own)
    return parser
