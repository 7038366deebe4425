"""`mfubench compare`: training scripts in turns, step by step, and a verdict for each."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfubench.arguments import UserError, add_results_dir, duration_s
from mfubench.streams import shortened

if TYPE_CHECKING:
    from mfubench.compare.document import Comparison
    from mfubench.pairs.journal import PairJournal
    from mfubench.sides.spec import SideSpec

COULD_NOT_RUN, EXIT_INTERRUPTED = 3, 130


def add_parser(commands: Any) -> None:
    """Declare the command; docs/commands.md and docs/compare.md describe it."""
    parser = commands.add_parser(
        "compare",
        help="let training scripts take turns: which is faster, and do they learn alike?",
        usage='mfubench compare [options] "SCRIPT [arguments]" ["SCRIPT [arguments]" …]',
        allow_abbrev=False,
    )
    parser.error = lambda message: parser.exit(
        COULD_NOT_RUN,
        f"mfubench compare: {shortened(message)}; a script with arguments is one word, in quotes: "
        'mfubench compare "train.py --compile=False" "train.py --compile=True"\n',
    )
    known = parser.parse_known_args

    def all_known(*given: Any) -> tuple[argparse.Namespace, list[str]]:
        namespace, unknown = known(*given)
        if unknown:
            parser.error(f"there is no option {unknown[0]}")
        return namespace, unknown

    parser.parse_known_args = all_known
    add = parser.add_argument
    add("commands", nargs="+", metavar="COMMAND", help="a script with its arguments, in quotes")
    add("--python", action="append", default=[], metavar="PATH", help="a side's Python")
    add("--env", action="append", default=[], metavar="A=1", help="a side's variables")
    add("--rev", action="append", default=[], metavar="REV", help="a side's revision, in git")
    add(
        "--link",
        action="append",
        default=[],
        metavar="PATH",
        help="what the worktrees of --rev need and git has not: data, say",
    )
    add(
        "--precision",
        type=precision,
        default=0.01,
        metavar="X",
        help="differences below it are none: 1%%, 0.005 (default: 1%%)",
    )
    add(
        "--budget",
        type=duration_s,
        default=120.0,
        metavar="TIME",
        help="how long it may take: 90s, 5m (default: 2m)",
    )
    add("--as-is", action="store_true", help="leave the allocator and idle threads as they are")
    add("--tokens-per-step", type=int, metavar="N", help="where the embedding does not tell")
    add("--resume", action="store_true", help="use the pairs that an interrupted one kept")
    add("--wait", type=duration_s, default=0.0, metavar="TIME", help="for another measurement")
    add("--json", action="store_true", help="machine-readable")
    add("--markdown", action="store_true", help="for an issue or a pull request")
    add_results_dir(parser, "where comparisons are kept")
    parser.set_defaults(run=run)


def precision(text: str) -> float:
    """A share from `1%`, `1 %` or `0.01`.

    >>> precision("1%"), precision("0.005")
    (0.01, 0.005)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", text.strip())
    share = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0.0005 <= share <= 0.5:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no precision; allowed: 0.05% to 50%, for instance 1%"
        )
    return share


def run(arguments: argparse.Namespace) -> int:
    """Exit status 0 when something was decided, 2 when all is unclear, 3 when it could not run."""
    from mfubench.compare.comparison import CouldNotRunError
    from mfubench.pairs.machine_lock import BusyError, machine_lock
    from mfubench.pairs.revisions import RevisionError
    from mfubench.sides.bench import TooShortError

    try:
        with machine_lock(arguments.wait):
            return _compare(arguments)
    except (UserError, RevisionError, BusyError, CouldNotRunError, TooShortError) as error:
        print(f"mfubench compare: {shortened(str(error))}", file=sys.stderr)
    except BrokenPipeError:  # nobody reads on; the comparison is saved
        raise
    except OSError as error:
        words = f"{error.strerror or error} ({error.filename}); whole pairs are kept: --resume"
        print(f"mfubench compare: {words}", file=sys.stderr)
    except KeyboardInterrupt:
        print("mfubench compare: interrupted before the first pair was over", file=sys.stderr)
        return EXIT_INTERRUPTED
    return COULD_NOT_RUN


def _compare(arguments: argparse.Namespace) -> int:
    from mfubench.compare.comparison import Comparing
    from mfubench.compare.sides import make_sides
    from mfubench.results import document
    from mfubench.sides.bench import ScriptBench
    from mfubench.sides.control import Control
    from mfubench.sides.forks import ScriptForks

    sides = make_sides(arguments.commands, arguments.python, arguments.env, arguments.rev)
    if arguments.tokens_per_step is not None and arguments.tokens_per_step < 1:
        raise UserError(f"--tokens-per-step {arguments.tokens_per_step}: give 1 or more")
    machine = document.machine_dir(arguments.results_dir)
    if refusal := document.refusal_to_write(machine / "comparison"):
        raise UserError(f"{refusal}. Nothing was started.")
    with _in_trees(sides, arguments.link) as placed, _folder() as folder, ScriptForks() as forks:
        _refuse_missing(placed)
        journal = _journal(machine / "comparison", placed, arguments)
        control = Control()
        bench = ScriptBench(
            sides=placed,
            folder=folder,
            control=control,
            is_steadied=not arguments.as_is,
            tokens_per_step=arguments.tokens_per_step,
            say=_say,
            forks=forks,
        )
        try:
            found = Comparing(bench, journal, arguments.precision, arguments.budget, say=_say).run()
        finally:
            control.close()
    where = document.save("comparison", found, arguments.results_dir)
    journal.finish()
    _print(found, arguments, where)
    return EXIT_INTERRUPTED if found.ended == "interrupted" else found.exit_status


def _print(found: Comparison, arguments: argparse.Namespace, where: str) -> None:
    from mfubench.compare.text import comparison_markdown, comparison_text
    from mfubench.results import document

    if arguments.json:
        print(document.body_text(found, without="measured"))
    elif arguments.markdown:
        print(comparison_markdown(found), end="")
    else:
        print(comparison_text(found, color=sys.stdout.isatty()))
        print(f"\n{where}")


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(
        prefix="mfubench-compare-", ignore_cleanup_errors=True
    ) as name:
        yield Path(name)


@contextlib.contextmanager
def _in_trees(sides: Sequence[SideSpec], links: Sequence[str]) -> Iterator[list[SideSpec]]:
    """The sides with a folder each: a revision's is a worktree, gone afterwards."""
    from mfubench.pairs import revisions

    placed = list(sides)
    if links and not any(side.revision for side in sides):
        raise UserError("--link is for the worktrees of --rev, and no --rev is given")
    with contextlib.ExitStack() as stack:
        for number, side in enumerate(sides):
            if side.revision is None:
                continue
            root = revisions.repository(side.cwd)
            commit, label = revisions.resolve(root, side.revision)
            tree = stack.enter_context(revisions.worktree(root, commit))
            below = side.cwd.resolve().relative_to(root.resolve())
            for link in links:
                _link(side.cwd / link, tree / below / link)
            new = side.label.replace(side.revision, label, 1)
            placed[number] = replace(side, cwd=tree / below, commit=commit, label=new)
        yield placed


def _link(source: Path, target: Path) -> None:
    if not source.exists():
        raise UserError(f"--link {source.name}: there is no {source}")
    if target.exists():
        return  # the revision has its own
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source.resolve(), target_is_directory=source.is_dir())


def _refuse_missing(sides: Sequence[SideSpec]) -> None:
    """Before anything starts: a script that is not there."""
    for side in sides:
        if not side.is_module and not (side.cwd / side.words[0]).exists():
            where = f"in {side.label}" if side.revision else f"in {side.cwd}"
            raise UserError(f"there is no script {side.words[0]!r} {where}")


def _journal(folder: Path, sides: Sequence[SideSpec], arguments: argparse.Namespace) -> PairJournal:
    """The pairs of this comparison that an interrupted one kept, with `--resume`."""

    from mfubench.pairs.journal import JournalError, PairJournal
    from mfubench.sides.pair import ScriptPair

    about = [side.digest() for side in sides] + [str(arguments.as_is)]
    key = hashlib.sha256("\n".join(about).encode()).hexdigest()[:16]
    journal = PairJournal(folder / f".pairs-{key}.jsonl")
    try:
        journal.begin(ScriptPair, resume=arguments.resume)
    except JournalError as error:
        raise UserError(str(error)) from None
    if arguments.resume:
        _say(f"{len(journal.pairs)} pairs are kept from before")
    return journal
