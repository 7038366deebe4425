"""`mfubench bench [options]`: measure this machine, with the benchmarks that are installed with us.

It is `pytest --pyargs mfubench_benchmarks`, kept apart from the folder where it is typed: no
conftest.py and no pytest settings of the user's change what is measured.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from mfubench import __version__
from mfubench.arguments import UserError
from mfubench.options import OPTIONS, QUESTIONS, known, listed
from mfubench.streams import escaped

PACKAGE = "mfubench_benchmarks"
SETTINGS = Path(__file__).with_name("bench.ini")
PYTEST_COLORS = {"always": "yes", "never": "no", "auto": "auto"}


def add_parser(commands: Any) -> None:
    """Add `bench` to the command line."""
    parser = commands.add_parser(
        "bench",
        help="measure this machine: what share of it GPT training uses",
        description="Measure this machine. Options that are not listed here go to pytest: "
        "-k, -x, --benchmark-compare and so on.",
        allow_abbrev=False,
    )
    parser.passes_on = True
    parser.add_argument(
        "--only",
        type=listed("question", known("question", tuple(QUESTIONS)), auto=False),
        metavar="NAMES",
        help=f"Ask only these questions, whatever the sweep: {', '.join(QUESTIONS)}.",
    )
    for option in OPTIONS:
        parser.add_argument(option.name, **option.settings)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure; the exit status is pytest's own (docs/commands.md)."""
    results = arguments.results_dir.expanduser()
    told = (
        f"mfubench {__version__}: measuring this machine (sweep {arguments.sweep}); results go to "
        f"{Path(results)}{'/' if not results.is_absolute() else ''}. Loading torch ..."
    )
    print(
        escaped(told),  # the streams are pytest's, which are not safe ones
        file=sys.stderr if arguments.json else sys.stdout,
        flush=True,
    )
    import pytest

    return int(pytest.main(pytest_words(arguments), plugins=[NoFileNames()]))


class NoFileNames:
    """Keeps pytest from writing a file's path above its cases; outside of a clone it is "."."""

    def pytest_sessionstart(self, session: Any) -> None:
        """Tell pytest's terminal, where there is one (pytest calls this when a run begins)."""
        reporter = session.config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None:
            reporter.showfspath = False


def pytest_words(arguments: argparse.Namespace) -> list[str]:
    """What pytest is given: its own settings of ours, the questions, and what the user typed."""
    modules = [f"{PACKAGE}.{QUESTIONS[name]}" for name in arguments.only or ()] or [PACKAGE]
    words = ["-c", str(SETTINGS), "--rootdir", str(Path.cwd()), "--noconftest", "--no-header"]
    words += ["-p", "no:cacheprovider", "--import-mode=importlib"]
    words += [f"--color={PYTEST_COLORS[arguments.color]}", "--pyargs", *modules]
    return words + typed(arguments.words)


def typed(words: list[str]) -> list[str]:
    """The user's words for pytest: all but the options that it does not have.

    Raises UserError for words that would name other tests than ours.

    >>> typed(["--sweep", "smoke", "--only=knobs", "-x", "--color", "never"])
    ['--sweep', 'smoke', '-x']
    """
    ours = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    ours.add_argument("--only")
    ours.add_argument("--color")
    _, rest = ours.parse_known_args(words)
    for word in rest:
        if word.endswith(".py") or "::" in word:
            names = ", ".join(QUESTIONS)
            raise UserError(f"{word!r} names a file; to ask one question, type --only with {names}")
    return rest
