"""What the commands share: the parser, bad input as one sentence, the words for amounts of time."""

from __future__ import annotations

import argparse
import errno
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from mfubench.files import output_problem
from mfubench.show.terminal import COLOR_CHOICES
from mfubench.streams import shortened
from mfubench.words import did_you_mean

LONGEST_S = 365 * 86400.0
UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}

SIZES = {
    "n_layer": "layers",
    "n_head": "attention heads",
    "n_embd": "embedding width",
    "block_size": "context length in tokens",
    "vocab_size": "vocabulary",
    "batch_size": "sequences per step",
}
ACCUMULATION = {"gradient_accumulation_steps": "batches per optimizer step, over all ranks"}
"""What a user may say of a model and its step: names as in nanoGPT's configuration, and helps."""


class UserError(Exception):
    """Bad input: the message is the whole answer."""


class Parser(argparse.ArgumentParser):
    """A parser that refuses in one sentence, and says what was probably meant."""

    passes_on = False
    """Whether words that it does not know belong to another program, which refuses them itself."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, in no more than a line of what was given; the exit status is 2."""
        text = message[:1].lower() + message[1:]
        self.exit(2, f"{self.prog}: {shortened(text)}; see {self.prog} --help\n")

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        if action.nargs is None and arg_strings == ["--"]:  # which becomes [] before Python 3.13
            raise argparse.ArgumentError(action, "'--' is no value")
        return super()._get_values(action, arg_strings)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            allowed = [str(choice) for choice in action.choices]
            hint = did_you_mean(str(value), allowed)
            # A command is no argument to the user, so that it is not called one.
            named = None if isinstance(action, argparse._SubParsersAction) else action
            what = "unknown command" if named is None else "unknown value"
            raise argparse.ArgumentError(
                named, f"{what} {value!r}; allowed: {', '.join(allowed)}{hint}"
            )

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse, with a hint where an option is not known."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.refuse_unknown(found, unknown)
        return found

    def refuse_unknown(self, found: argparse.Namespace, unknown: Sequence[str]) -> None:
        """End for words that neither we nor the program behind a command can know."""
        parser = self.parser_of(getattr(found, "command", None))
        own = [name for name in parser._option_string_actions if name.startswith("--")]
        for word in unknown:
            name = word.partition("=")[0]
            like = 0.8 if parser.passes_on else 0.6  # another program's option may be like ours
            hint = did_you_mean(name, own, like=like) if name.startswith("--") else ""
            if hint or not parser.passes_on:
                what = "option" if name.startswith("-") else "word"
                parser.error(f"unknown {what} {name!r}{hint}")

    def parser_of(self, command: str | None) -> Parser:
        """The parser of a command, or this one."""
        return self.commands().get(command or "", self)

    def commands(self) -> dict[str, Parser]:
        """The parsers of the commands, by name."""
        found: dict[str, Parser] = {}
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                found.update(action.choices)
        return found


def add_color(parser: argparse.ArgumentParser, default: str = argparse.SUPPRESS) -> None:
    """`--color`, which every command takes."""
    parser.add_argument(
        "--color",
        choices=COLOR_CHOICES,
        default=default,
        help="colours: auto is on a terminal, and not where NO_COLOR is set (default: auto)",
    )


def duration_s(text: str) -> float:
    """Seconds from `300`, `90s`, `5m` or `1h`.

    >>> duration_s("5m"), duration_s("90"), duration_s("1.5 min")
    (300.0, 90.0, 90.0)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)?", text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a valid duration; type 300, 90s, 5m or 1h"
        )
    seconds = float(match[1]) * UNITS_S[match[2] or ""]
    if seconds > LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is longer than a year")
    return seconds


def user_path(text: str) -> Path:
    """A path that a user typed, `~` included. Raises argparse.ArgumentTypeError for what cannot be
    one: an empty text, another user's home that is not there, a name that is too long."""
    path = _expanded(text)
    try:
        path.stat()
    except ValueError as error:  # a zero byte
        raise argparse.ArgumentTypeError(f"{text!r} is no path: {error}") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise argparse.ArgumentTypeError(
                f"{shortened(text)} is no path: a name in it is too long"
            ) from None
    return path


def output_path(text: str) -> Path:
    """The path of a file to be written; raises argparse.ArgumentTypeError for a folder too."""
    path = user_path(text)
    if not path.name or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a folder; give the name of a file")
    return path


def refuse_output(option: str, path: Path | None) -> None:
    """Raise UserError for a file that could not be written, before anything is measured."""
    problem = None if path is None else output_problem(path)
    if problem is not None:
        raise UserError(f"{option} {path} cannot be written: {problem}; give another place")


def _expanded(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("an empty text is no path; give a name")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        home = text.partition("/")[0]
        raise argparse.ArgumentTypeError(
            f"{shortened(text)!r} is no path: there is no home {shortened(home)}; "
            "a file of that name is ./~…"
        ) from None


LARGEST_SIZE = 10**12
"""Larger ones overflow in the counts, and no model comes near."""


def option_of(name: str) -> str:
    """The option for a size: `--n-layer` for `n_layer`."""
    return "--" + name.replace("_", "-")


def add_sizes(parser: argparse.ArgumentParser, sizes: Mapping[str, str]) -> None:
    """An option for each size, and `--bias`; `sizes_given` reads them."""
    for name, what in sizes.items():
        parser.add_argument(option_of(name), type=int, default=None, metavar="N", help=what)
    parser.add_argument("--bias", action="store_true", default=None, help="with biases, as GPT-2")


def sizes_given(arguments: argparse.Namespace, sizes: Iterable[str]) -> dict[str, int]:
    """The sizes that the user gave; raises UserError for one that is beyond all reason."""
    given = {n: value for n in sizes if (value := getattr(arguments, n)) is not None}
    for name, value in given.items():
        if value > LARGEST_SIZE:
            raise UserError(f"{option_of(name)} is too large; allowed: at most {LARGEST_SIZE:,}")
    return given


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="machine-readable")


def add_corpus_and_threads(parser: argparse.ArgumentParser) -> None:
    """`--corpus` and `--threads`; `refuse_corpus` and `refuse_threads` check them."""
    parser.add_argument(
        "--corpus",
        type=user_path,
        default=None,
        metavar="PATH",
        help="a text, or train.bin's folder",
    )
    parser.add_argument("--threads", type=int, default=None, metavar="N", help="CPU threads")


def refuse_corpus(path: Path | None) -> None:
    """Raise UserError for a corpus that is not there."""
    if path is not None and not path.exists():
        raise UserError(f"There is no {path}; give a text file, or train.bin's folder")


def refuse_threads(threads: int | None) -> None:
    """Raise UserError for a number of threads that cannot be."""
    from mfubench.suite.sweep import MAX_THREADS

    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise UserError(f"{threads} is not a number of threads; allowed: 1 to {MAX_THREADS}")


def refuse_device(name: str) -> None:
    """Raise UserError for a device that is none, or that cannot be used here."""
    from mfubench.hardware.devices import parse_device

    try:
        reason = parse_device(name).unavailable_reason()
    except ValueError as error:
        raise UserError(str(error)) from None
    if reason is not None:
        raise UserError(f"{name} cannot be used: {reason}")


def this_device(logged: str) -> str:
    """The device of this machine that a log's `device` means, as its driver names it.

    Raises UserError where it cannot be used here.
    """
    if logged.partition(":")[0] == "cpu":
        return "cpu"
    from mfubench.hardware.devices import parse_device

    refuse_device(logged)
    return parse_device(logged).name


def add_results_dir(parser: argparse.ArgumentParser, what: str) -> None:
    """`--results-dir`, with what is kept there."""
    parser.add_argument(
        "--results-dir",
        type=user_path,
        default=Path("results"),
        metavar="DIR",
        help=f"{what} (default: %(default)s)",
    )


def refuse_trace_file(path: Path) -> None:
    """Raise UserError for a trace that could not be written where it is asked for."""
    if not path.name.endswith((".json", ".json.gz")):
        raise UserError(f"--save-trace {path}: the name must end in .json or .json.gz")
    if path.exists():
        raise UserError(f"--save-trace {path} exists, and nothing is overwritten; give a new name")
    if not path.parent.is_dir():
        raise UserError(f"--save-trace {path}: there is no folder {path.parent}; make it first")
